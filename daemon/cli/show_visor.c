/*
 * skygate visor: who this is and what it is connected to; skygate dmsg; and of skygate status the line that says what of the
 * network is missing.
 */
#include "base/common.h"
#include "cli/cli.h"

#define LABEL 11

static void label(const char *text)
{
	term_word(text, LABEL, MOOD_PLAIN);
}

static size_t sessions_up(const json_t *dmsg)
{
	const json_t *i;
	size_t n, up = 0;

	json_array_foreach(json_object_get(dmsg, "sessions"), n, i) up += strcmp(get_str(i, "state"), "up") == 0;
	return up;
}

/* "2 stcpr, 1 dmsg" */
static void print_transports(const json_t *by_type)
{
	const char *type;
	const json_t *count;
	json_int_t all = 0;
	bool first = true;

	json_object_foreach((json_t *)by_type, type, count) all += json_integer_value(count);
	label("transports");
	printf("%lld", (long long)all);
	json_object_foreach((json_t *)by_type, type, count)
	{
		printf("%s%lld %s", first ? ": " : ", ", (long long)json_integer_value(count), type);
		first = false;
	}
	puts(all ? "" : "   to connect a visor:  skygate transport add KEY");
}

static void print_networks(const json_t *networks, const json_t *dmsg)
{
	const json_t *i;
	size_t n;

	label("networks");
	json_array_foreach(networks, n, i)
	{
		const char *name = json_string_value(i);

		printf("%s%s", n ? ", " : "", name ? name : "");
		if (name && strcmp(name, "dmsg") == 0)
			printf(" (%zu of %lld sessions)", sessions_up(dmsg), (long long)get_int(dmsg, "wanted"));
	}
	putchar('\n');
}

static void print_services(const json_t *services)
{
	const json_t *i;
	size_t n, shown = 0;

	json_array_foreach(services, n, i)
	{
		const char *state = get_str(i, "state");

		if (strcmp(state, "none") == 0)
			continue;
		label(shown++ ? "" : "services");
		term_word(state, 14,
			strcmp(state, "up") == 0     ? MOOD_GOOD
			: strcmp(state, "down") == 0 ? MOOD_BAD
						     : MOOD_PLAIN);
		printf("%s  %s\n", get_str(i, "name"), get_str(i, "url"));
	}
	if (!shown) {
		label("services");
		puts("none: this visor knows only the peers of its configuration");
	}
}

int show_visor(const json_t *result)
{
	char up[TERM_TEXT];

	label("visor");
	puts(get_str(result, "pk"));
	label("version");
	printf("%s   up %s   %s\n", get_str(result, "version"), term_duration(get_int(result, "uptime_ms"), up),
		get_str(result, "config"));
	print_networks(json_object_get(result, "networks"), json_object_get(result, "dmsg"));
	print_transports(json_object_get(result, "transports"));
	print_services(json_object_get(result, "services"));
	label("kept");
	puts(get_bool(json_object_get(result, "store"), "lasts") ? "over a restart"
								 : "in memory: gone after a restart");
	return EXIT_DONE;
}

int show_dmsg(const json_t *result)
{
	static const char *const heads[] = {"SERVER", "ADDRESS", "STATE", "UP", "RTT"};
	const json_t *list = json_object_get(result, "sessions"), *i;
	char key[TERM_TEXT], text[TERM_TEXT];
	struct term_table *t;
	size_t n;

	printf("dmsg     %s   %zu of %lld sessions, %lld streams\n", get_str(result, "state"), sessions_up(result),
		(long long)get_int(result, "wanted"), (long long)get_int(result, "streams"));
	if (*get_str(result, "reason"))
		printf("  %s\n", get_str(result, "reason"));
	if (!json_array_size(list))
		return EXIT_DONE;
	t = term_table_new(SG_ARRAY_LEN(heads), heads);
	json_array_foreach(list, n, i)
	{
		int64_t rtt_us = get_int(i, "rtt_us"), up_ms = get_int(i, "up_ms");

		term_cell(t, term_key(get_str(i, "server"), key));
		term_cell(t, get_str(i, "address"));
		term_cell(t, get_str(i, "state"));
		term_cell(t, up_ms < 0 ? "-" : term_duration(up_ms, text));
		term_cell(t, rtt_us < 0 ? "-" : term_duration((rtt_us + 500) / 1000, text));
	}
	term_table_print(t);
	return EXIT_DONE;
}

/* Whether anything beyond this machine is reached: a neighbour, a dmsg server, a service. */
static bool anything_up(const json_t *status)
{
	const json_t *i;
	size_t n;

	if (get_int(status, "transports") > 0 || strcmp(get_str(json_object_get(status, "dmsg"), "state"), "up") == 0)
		return true;
	json_array_foreach(json_object_get(status, "directory"), n, i)
	{
		if (strcmp(get_str(i, "state"), "up") == 0)
			return true;
	}
	return false;
}

static void missing(size_t already, bool partial)
{
	term_word(already ? "" : "network", 9, MOOD_PLAIN);
	term_word(already ? "" : partial ? "partial" : "down", 12, partial ? MOOD_CARE : MOOD_BAD);
}

/* One line for each thing of the network that should be there and is not. Nothing, when all is. */
void show_missing(const json_t *status)
{
	const json_t *dmsg = json_object_get(status, "dmsg"), *i;
	bool partial = anything_up(status);
	size_t n, shown = 0;

	if (strcmp(get_str(dmsg, "state"), "down") == 0) {
		missing(shown++, partial);
		printf("no dmsg server reachable%s%s\n", *get_str(dmsg, "reason") ? ": " : "", get_str(dmsg, "reason"));
	}
	json_array_foreach(json_object_get(status, "directory"), n, i)
	{
		const char *reason = get_str(i, "reason"), *url = get_str(i, "url");

		if (strcmp(get_str(i, "state"), "down") != 0)
			continue;
		missing(shown++, partial);
		/* Reasons begin with the address, where it is one's fault. */
		printf("%s: %s%s%s\n", get_str(i, "name"), strncmp(reason, url, strlen(url)) == 0 ? "" : url,
			*reason && strncmp(reason, url, strlen(url)) != 0 ? ": " : "", reason);
	}
}
