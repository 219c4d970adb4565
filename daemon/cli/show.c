/* Lists and short answers for people. */
#include "base/common.h"
#include "cli/cli.h"

static void cell_int(struct term_table *t, int64_t n, char *(*format)(uint64_t, char *))
{
	char buf[TERM_TEXT];

	term_cell(t, format((uint64_t)n, buf));
}

static void cell_ms(struct term_table *t, int64_t ms)
{
	char buf[TERM_TEXT];

	term_cell(t, ms < 0 ? "-" : term_duration(ms, buf));
}

static void cell_key(struct term_table *t, const char *hex)
{
	char buf[TERM_TEXT];

	term_cell(t, term_key(hex, buf));
}

/* Those that should be up and are not, with the reason. */
static void show_waiting(const json_t *list)
{
	const json_t *i;
	size_t n;

	json_array_foreach(list, n, i)
	{
		int64_t next_ms = get_int(i, "next_try_ms");
		char key[TERM_TEXT], when[TERM_TEXT];

		printf("down    %s %s%s%s: %s", term_key(get_str(i, "pk"), key), get_str(i, "peer"),
			*get_str(i, "carrier") ? " by " : "", get_str(i, "carrier"), get_str(i, "why"));
		if (next_ms >= 0)
			printf("; trying again in %s", term_duration(next_ms, when));
		putchar('\n');
	}
}

static int show_transports(const json_t *result)
{
	static const char *const heads[] = {
		"ID", "KEY", "PEER", "TYPE", "", "ADDRESS", "LABEL", "KIND", "RTT", "UP", "RECEIVED", "SENT"};
	const json_t *list = json_object_get(result, "transports"), *waiting = json_object_get(result, "waiting"), *i;
	struct term_table *t;
	size_t n;

	if (!json_array_size(list) && !json_array_size(waiting)) {
		puts("no transports: no other visor is connected\n  to connect one:  skygate transport add KEY");
		return EXIT_DONE;
	}
	if (!json_array_size(list)) {
		show_waiting(waiting);
		return EXIT_DONE;
	}
	t = term_table_new(SG_ARRAY_LEN(heads), heads);
	json_array_foreach(list, n, i)
	{
		int64_t rtt_us = get_int(i, "rtt_us");
		char id[9];

		snprintf(id, sizeof(id), "%s", get_str(i, "id"));
		term_cell(t, id);
		cell_key(t, get_str(i, "pk"));
		term_cell(t, *get_str(i, "peer") ? get_str(i, "peer") : "-");
		term_cell(t, get_str(i, "carrier"));
		term_cell(t, get_bool(i, "dialled") ? "to" : "from");
		term_cell(t, *get_str(i, "address") ? get_str(i, "address") : "-");
		term_cell(t, get_str(i, "label"));
		term_cell(t, get_str(i, "kind"));
		cell_ms(t, rtt_us < 0 ? -1 : (rtt_us + 500) / 1000);
		cell_ms(t, get_int(i, "up_ms"));
		cell_int(t, get_int(i, "rx_bytes"), term_bytes);
		cell_int(t, get_int(i, "tx_bytes"), term_bytes);
	}
	term_table_print(t);
	show_waiting(waiting);
	return EXIT_DONE;
}

static int show_services(const json_t *result)
{
	static const char *const heads[] = {"SERVICE", "STATE", "LAST ANSWER", "URL"};
	const json_t *list = json_object_get(result, "services"), *i;
	struct term_table *t = term_table_new(SG_ARRAY_LEN(heads), heads);
	char ago[TERM_TEXT], text[TERM_TEXT + 8];
	bool none = true;
	size_t n;

	json_array_foreach(list, n, i)
	{
		int64_t ms = get_int(i, "answer_ms_ago");

		snprintf(text, sizeof(text), "%s ago", ms < 0 ? "" : term_duration(ms, ago));
		term_cell(t, get_str(i, "name"));
		term_cell(t, get_str(i, "state"));
		term_cell(t, ms < 0 ? "-" : text);
		term_cell(t, *get_str(i, "url") ? get_str(i, "url") : "-");
		none = none && !*get_str(i, "url");
	}
	term_table_print(t);
	json_array_foreach(list, n, i)
	{
		if (*get_str(i, "reason"))
			printf("  %s: %s\n", get_str(i, "name"), get_str(i, "reason"));
	}
	if (none)
		puts("no service is configured: this visor knows only the peers of its configuration\n  for the public "
		     "network:  config deployment  with  option source 'public'");
	return EXIT_DONE;
}

static int show_exits(const json_t *result)
{
	static const char *const heads[] = {"KEY", "COUNTRY", "REGION", "VERSION"};
	const json_t *list = json_object_get(result, "exits"), *i;
	struct term_table *t;
	size_t n;

	if (!json_array_size(list)) {
		puts("no exits are listed");
		return EXIT_DONE;
	}
	t = term_table_new(SG_ARRAY_LEN(heads), heads);
	json_array_foreach(list, n, i)
	{
		/* Whole: they are to be copied. */
		term_cell(t, get_str(i, "pk"));
		term_cell(t, *get_str(i, "country") ? get_str(i, "country") : "-");
		term_cell(t, *get_str(i, "region") ? get_str(i, "region") : "-");
		term_cell(t, *get_str(i, "version") ? get_str(i, "version") : "-");
	}
	term_table_print(t);
	if (*get_str(result, "note"))
		printf("  an earlier answer, for the service discovery gives none now: %s\n", get_str(result, "note"));
	puts("  to use one until the next start:  skygate exit use KEY");
	return EXIT_DONE;
}

static int show_streams(const json_t *result)
{
	static const char *const heads[] = {
		"KEY", "", "PORT", "NETWORK", "CARRIER", "UP", "RECEIVED", "SENT", "WAITING"};
	const json_t *list = json_object_get(result, "streams"), *i;
	struct term_table *t;
	char port[TERM_TEXT];
	size_t n;

	if (!json_array_size(list)) {
		puts("no streams are open");
		return EXIT_DONE;
	}
	t = term_table_new(SG_ARRAY_LEN(heads), heads);
	json_array_foreach(list, n, i)
	{
		cell_key(t, get_str(i, "pk"));
		term_cell(t, get_bool(i, "dialled") ? "to" : "from");
		snprintf(port, sizeof(port), "%lld", (long long)get_int(i, "port"));
		term_cell(t, port);
		term_cell(t, get_str(i, "network"));
		term_cell(t, get_str(i, "carrier"));
		cell_ms(t, get_int(i, "up_ms"));
		cell_int(t, get_int(i, "rx_bytes"), term_bytes);
		cell_int(t, get_int(i, "tx_bytes"), term_bytes);
		cell_int(t, get_int(i, "rx_waiting"), term_bytes);
	}
	term_table_print(t);
	return EXIT_DONE;
}

static void cell_tpid(struct term_table *t, const char *text)
{
	char buf[TERM_TEXT];

	snprintf(buf, sizeof(buf), "%.8s", *text ? text : "-");
	term_cell(t, buf);
}

static void cell_number(struct term_table *t, const json_t *object, const char *name)
{
	char buf[TERM_TEXT];

	snprintf(buf, sizeof(buf), "%lld", (long long)get_int(object, name));
	term_cell(t, get_int(object, name) ? buf : "-");
}

static int show_routes(const json_t *result)
{
	static const char *const heads[] = {
		"ID", "TYPE", "KEY", "", "PORT", "STATE", "FROM", "TO", "ID THERE", "RTT", "AGE", "LEFT", "BYTES"};
	const json_t *list = json_object_get(result, "rules"), *i;
	struct term_table *t;
	size_t n;

	if (!json_array_size(list)) {
		puts("no routes end here or pass through");
		return EXIT_DONE;
	}
	t = term_table_new(SG_ARRAY_LEN(heads), heads);
	json_array_foreach(list, n, i)
	{
		int64_t rtt_us = get_int(i, "rtt_us");
		bool ends = *get_str(i, "state");

		cell_number(t, i, "id");
		term_cell(t, get_str(i, "type"));
		if (ends)
			cell_key(t, get_str(i, "pk"));
		else
			term_cell(t, "-");
		term_cell(t, !ends ? "" : get_bool(i, "dialled") ? "to" : "from");
		cell_number(t, i, "port");
		term_cell(t, ends ? get_str(i, "state") : "-");
		cell_tpid(t, get_str(i, "from"));
		cell_tpid(t, get_str(i, "next"));
		cell_number(t, i, "next_id");
		cell_ms(t, rtt_us < 0 ? -1 : (rtt_us + 500) / 1000);
		cell_ms(t, get_int(i, "age_ms"));
		cell_ms(t, get_int(i, "left_ms"));
		cell_int(t, get_int(i, "bytes"), term_bytes);
	}
	term_table_print(t);
	return EXIT_DONE;
}

/* A path on one line: its transports and whom they lead to. */
static void show_path(const json_t *path, bool usable)
{
	const json_t *hops = json_object_get(path, "hops"), *h;
	char key[TERM_TEXT], rtt[TERM_TEXT];
	size_t n, count = json_array_size(hops);

	printf("%zu hop%s%s", count, count == 1 ? " " : "s", usable ? "  " : " -");
	json_array_foreach(hops, n, h)
	{
		int64_t rtt_us = get_int(h, "rtt_us");

		printf(" %.8s%s%s", get_str(h, "id"), *get_str(h, "carrier") ? " " : "", get_str(h, "carrier"));
		if (rtt_us >= 0)
			printf(" %s", term_duration((rtt_us + 500) / 1000, rtt));
		printf(" → %s", term_key(get_str(h, "to"), key));
	}
	putchar('\n');
}

static int show_paths(const json_t *result)
{
	const json_t *list = json_object_get(result, "paths"), *i;
	bool all = true;
	size_t n;

	json_array_foreach(list, n, i)
	{
		show_path(i, get_bool(i, "usable"));
		all = all && get_bool(i, "usable");
	}
	if (!json_array_size(list))
		puts("no way there is known");
	if (!all)
		puts("-  begins with no transport that is up here, or with one that another goes before");
	if (*get_str(result, "note"))
		printf("  %s\n", get_str(result, "note"));
	return json_array_size(list) ? EXIT_DONE : EXIT_FAILED;
}

static int show_ping(const json_t *result)
{
	const json_t *list = json_object_get(result, "rtt_us"), *i;
	size_t n, answered = 0;

	show_path(result, true);
	if (*get_str(result, "note"))
		printf("  over the transport itself, for there is no route: %s\n", get_str(result, "note"));
	json_array_foreach(list, n, i)
	{
		int64_t us = json_integer_value(i);

		if (us < 0)
			printf("%zu: no answer\n", n + 1);
		else
			printf("%zu: %lld.%03lld ms\n", n + 1, (long long)us / 1000, (long long)us % 1000);
		answered += us >= 0;
	}
	return answered ? EXIT_DONE : EXIT_FAILED;
}

static int show_counters(const json_t *result)
{
	static const char *const heads[] = {"COUNTER", "VALUE", "MEANING"};
	const json_t *list = json_object_get(result, "counters"), *i;
	struct term_table *t = term_table_new(SG_ARRAY_LEN(heads), heads);
	size_t n, zeros = 0;

	json_array_foreach(list, n, i)
	{
		if (get_int(i, "value") == 0) {
			zeros++;
			continue;
		}
		term_cell(t, get_str(i, "name"));
		cell_int(t, get_int(i, "value"), term_count);
		term_cell(t, get_str(i, "help"));
	}
	term_table_print(t);
	if (zeros)
		printf("%zu more %s zero; all of them:  skygate counter ls --json\n", zeros, zeros == 1 ? "is" : "are");
	return EXIT_DONE;
}

static void provided(const json_t *plugin, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);
	const json_t *i;
	size_t n;

	json_array_foreach(json_object_get(plugin, "provides"), n, i)
		sg_text_addf(&t, "%s%s %s", n ? ", " : "", get_str(i, "kind"), get_str(i, "name"));
}

static int show_plugins(const json_t *result)
{
	static const char *const heads[] = {"PLUGIN", "VERSION", "STATE", "PROVIDES", "WHAT IT IS"};
	const json_t *list = json_object_get(result, "plugins"), *i;
	struct term_table *t = term_table_new(SG_ARRAY_LEN(heads), heads);
	char what[256];
	size_t n;

	json_array_foreach(list, n, i)
	{
		provided(i, what, sizeof(what));
		term_cell(t, get_str(i, "name"));
		term_cell(t, get_str(i, "version"));
		term_cell(t, get_str(i, "state"));
		term_cell(t, what);
		term_cell(t, get_str(i, "summary"));
	}
	term_table_print(t);
	json_array_foreach(list, n, i)
	{
		if (*get_str(i, "why"))
			printf("  %s: %s\n", get_str(i, "name"), get_str(i, "why"));
	}
	return EXIT_DONE;
}

static int show_store(const json_t *result)
{
	char size[TERM_TEXT], max[TERM_TEXT], waiting[TERM_TEXT], written[TERM_TEXT], daily[TERM_TEXT], up[TERM_TEXT];

	printf("file     %s   %s of %s\n", get_str(result, "file"), term_bytes((uint64_t)get_int(result, "size"), size),
		term_bytes((uint64_t)get_int(result, "size_max"), max));
	printf("disk     %s written in %s, at most %s a day   %s waiting\n",
		term_bytes((uint64_t)get_int(result, "written"), written),
		term_duration(get_int(result, "uptime_ms"), up), term_bytes((uint64_t)get_int(result, "daily"), daily),
		term_bytes((uint64_t)get_int(result, "waiting"), waiting));
	if (*get_str(result, "why"))
		printf("  %s\n", get_str(result, "why"));
	return EXIT_DONE;
}

static int show_findings(const json_t *result, const char *good)
{
	const json_t *i;
	long long errors = get_int(result, "errors");
	size_t n;

	if (get_bool(result, "ok")) {
		printf("%s: %s\n", get_str(result, "file"), good);
		return EXIT_DONE;
	}
	json_array_foreach(json_object_get(result, "findings"), n, i) fprintf(stderr, "%s\n", get_str(i, "text"));
	fprintf(stderr, "%lld error%s. Nothing was changed.\n", errors, errors == 1 ? "" : "s");
	return EXIT_FAILED;
}

static int show_check(const json_t *result)
{
	return show_findings(result, "valid");
}

static int show_reload(const json_t *result)
{
	return show_findings(result, "valid, and in force");
}

static int show_added(const json_t *result)
{
	char key[TERM_TEXT];

	printf("%s is kept connected until %s\n  see how it stands:  skygate transport ls\n",
		term_key(get_str(result, "pk"), key),
		get_bool(result, "keep") && get_bool(result, "lasts") ? "transport rm" : "skygated restarts");
	if (get_bool(result, "keep") && !get_bool(result, "lasts"))
		puts("  to keep it longer:  list plugin 'storage-sqlite'  in section visor");
	return EXIT_DONE;
}

static int show_removed(const json_t *result)
{
	char key[TERM_TEXT];

	printf("%s is disconnected\n", term_key(get_str(result, "pk"), key));
	return EXIT_DONE;
}

static int show_level(const json_t *result)
{
	const char *topic = get_str(result, "topic");

	printf("%s%s log at level %s until skygated restarts\n", *topic ? "lines of topic " : "all topics", topic,
		get_str(result, "level"));
	return EXIT_DONE;
}

static void print_line(const json_t *line)
{
	printf("%s %-5s %s: %s\n", get_str(line, "time"), get_str(line, "level"), get_str(line, "topic"),
		get_str(line, "text"));
}

static int show_log(const json_t *result)
{
	const json_t *i;
	size_t n;

	json_array_foreach(json_object_get(result, "lines"), n, i) print_line(i);
	fflush(stdout);
	return EXIT_DONE;
}

void show_log_line(const json_t *notification)
{
	const json_t *params = json_object_get(notification, "params");

	if (strcmp(get_str(notification, "method"), "log.dropped") == 0)
		printf("… %lld lines came faster than they could be shown\n", (long long)get_int(params, "lines"));
	else
		print_line(params);
	fflush(stdout);
}

static const struct {
	const char *method;
	int (*fn)(const json_t *result);
} views[] = {
	{"visor.status", show_status},
	{"vpn.start", show_vpn},
	{"vpn.stop", show_vpn},
	{"vpn.status", show_vpn},
	{"transport.list", show_transports},
	{"transport.add", show_added},
	{"transport.rm", show_removed},
	{"visor.show", show_visor},
	{"dmsg.status", show_dmsg},
	{"store.status", show_store},
	{"service.list", show_services},
	{"exit.list", show_exits},
	{"exit.use", show_vpn},
	{"stream.list", show_streams},
	{"route.list", show_routes},
	{"route.find", show_paths},
	{"visor.ping", show_ping},
	{"counter.list", show_counters},
	{"plugin.list", show_plugins},
	{"log.follow", show_log},
	{"log.level", show_level},
	{"config.check", show_check},
	{"config.reload", show_reload},
};

int show(const char *method, const json_t *result)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(views); i++) {
		if (strcmp(views[i].method, method) == 0)
			return views[i].fn(result);
	}
	/* A method newer than this table: its answer as it is. */
	json_dumpf(result, stdout, JSON_INDENT(2));
	putchar('\n');
	return EXIT_DONE;
}
