/*
 * skygate status and skygate vpn: first the state in a word, then why, then what can be done.
 *
 *	skygate  connected   exit my_exit 0303dad3…c473 via stcp, direct       2 h 14 min
 *	traffic  protected   192.168.1.0/24 (br-lan)  kill switch on, 0 packets blocked
 */
#include "base/common.h"
#include "cli/cli.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#define LABEL 9
#define WORD  12

static void label(const char *text)
{
	term_word(text, LABEL, MOOD_PLAIN);
}

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* ---- the VPN client ----------------------------------------------------------------------------------------------- */

static enum mood mood_of(const char *state)
{
	return is(state, "connected")                        ? MOOD_GOOD
	       : is(state, "blocking") || is(state, "armed") ? MOOD_CARE
							     : MOOD_PLAIN;
}

static void show_connected(const json_t *vpn)
{
	const json_t *exit = json_object_get(vpn, "exit");
	const char *name = get_str(exit, "name");
	char key[TERM_TEXT], since[TERM_TEXT];

	/* One that is no peer of the configuration has its key for a name. */
	term_key(get_str(exit, "pk"), key);
	printf("exit %s%s%s via %s, %s   %s\n", is(name, key) ? "" : name, is(name, key) ? "" : " ", key,
		get_str(vpn, "carrier"), get_str(vpn, "network"), term_duration(get_int(vpn, "since_ms"), since));
}

static void show_waiting(const json_t *vpn)
{
	const json_t *next = json_object_get(vpn, "next_try_ms");
	int64_t next_ms = json_integer_value(next), attempts = get_int(vpn, "attempts");
	const char *reason = get_str(vpn, "reason");
	char text[TERM_TEXT];

	fputs(*reason ? reason : "looking for the exit", stdout);
	if (next && next_ms >= 1000)
		printf("; trying again in %s", term_duration(next_ms, text));
	else if (next && next_ms >= 0)
		fputs("; trying now", stdout);
	if (attempts > 1)
		printf(" (attempt %lld)", (long long)attempts);
	putchar('\n');
}

/* Behind the state, for a machine that is an exit and nothing else too. */
static void show_exit_of_others(const json_t *server)
{
	int64_t clients = get_int(server, "clients"), upload = get_int(server, "upload_kbit");
	int64_t download = get_int(server, "download_kbit");
	char rate[TERM_TEXT];

	if (!get_bool(server, "ready")) {
		puts(get_str(server, "why"));
		return;
	}
	printf("an exit, with %lld client%s of %lld   pool %s%s", (long long)clients, clients == 1 ? "" : "s",
		(long long)get_int(server, "max_clients"), get_str(server, "pool"),
		get_bool(server, "open_to_all") ? "   open to everybody" : "");
	if (upload)
		printf("   upload %s", term_rate((uint64_t)upload * 1000, rate));
	if (download)
		printf("   download %s", term_rate((uint64_t)download * 1000, rate));
	putchar('\n');
}

static void show_state(const json_t *vpn)
{
	const char *state = get_str(vpn, "state");
	const json_t *server = json_object_get(vpn, "server");
	bool client = json_object_get(vpn, "mode") != NULL, ready = get_bool(server, "ready");

	label("skygate");
	if (!client && json_is_object(server)) {
		term_word(ready ? "ready" : "closed", WORD, ready ? MOOD_GOOD : MOOD_BAD);
		show_exit_of_others(server);
		return;
	}
	term_word(state, WORD, mood_of(state));
	if (is(state, "connected"))
		show_connected(vpn);
	else if (get_bool(vpn, "open"))
		puts("the VPN is not asked for, and the LAN may leave without it");
	else if (is(state, "armed"))
		puts("the VPN is not asked for");
	else if (is(state, "blocking"))
		show_waiting(vpn);
	else
		puts(client ? "no VPN (mode 'off')" : "no VPN is configured");
	if (json_is_object(server)) {
		label("server");
		term_word(ready ? "ready" : "closed", WORD, ready ? MOOD_GOOD : MOOD_BAD);
		show_exit_of_others(server);
	}
}

void status_rates(json_t *status, const json_t *later)
{
	json_t *vpn = json_object_get(status, "vpn");
	int64_t ms = get_int(later, "since_ms") - get_int(vpn, "since_ms");
	int64_t up = get_int(later, "up_bytes") - get_int(vpn, "up_bytes");
	int64_t down = get_int(later, "down_bytes") - get_int(vpn, "down_bytes");

	/* Another connection meanwhile counts from zero. */
	if (!is(get_str(later, "state"), "connected") || ms <= 0 || up < 0 || down < 0)
		return;
	json_object_set_new(vpn, "up_bps", json_integer(up * 8000 / ms));
	json_object_set_new(vpn, "down_bps", json_integer(down * 8000 / ms));
}

static void show_proof(const json_t *vpn)
{
	char rtt[TERM_TEXT], up[TERM_TEXT], down[TERM_TEXT], proof[TERM_TEXT];
	bool rates = json_object_get(vpn, "up_bps") != NULL;

	if (!is(get_str(vpn, "state"), "connected"))
		return;
	if (rates) {
		term_rate((uint64_t)get_int(vpn, "up_bps"), up);
		term_rate((uint64_t)get_int(vpn, "down_bps"), down);
	} else {
		term_bytes((uint64_t)get_int(vpn, "up_bytes"), up);
		term_bytes((uint64_t)get_int(vpn, "down_bytes"), down);
	}
	label("exit");
	printf("%s   up %s   down %s   last proof %s ago\n", term_duration(get_int(vpn, "rtt_ms"), rtt), up, down,
		term_duration(get_int(vpn, "last_proof_ms"), proof));
}

static void show_hints(const json_t *vpn)
{
	const json_t *link = json_object_get(vpn, "link");
	const char *state = get_str(vpn, "state"), *why = get_str(link, "why"), *address = get_str(link, "address");

	if (is(state, "blocking") && link && !get_bool(link, "linked") && *why && !is(why, get_str(vpn, "reason"))) {
		/* Sentences of carriers begin with the address. */
		bool named = *address && strncmp(why, address, strlen(address)) == 0;

		printf("  the way to the exit%s%s: %s\n", *address && !named ? ", " : "", named ? "" : address, why);
	}
	if (is(state, "armed") || (is(state, "off") && get_bool(vpn, "open")))
		puts("  to start it:  skygate vpn start");
	if (is(state, "blocking") && get_bool(vpn, "kill_switch"))
		puts("  to let the LAN out without protection:  skygate vpn stop --open");
}

int show_vpn(const json_t *result)
{
	show_state(result);
	show_proof(result);
	show_hints(result);
	return EXIT_DONE;
}

/* ---- traffic ------------------------------------------------------------------------------------------------------ */

/* The IPv4 network of a device, as the machine has it now; "" when it has none. */
static void network_of(const char *device, char *out, size_t cap)
{
	struct ifaddrs *list, *a;
	char text[SG_IP4_TEXT];

	out[0] = '\0';
	if (getifaddrs(&list) < 0)
		return;
	for (a = list; a && !out[0]; a = a->ifa_next) {
		uint32_t ip, mask;

		if (!a->ifa_addr || !a->ifa_netmask || a->ifa_addr->sa_family != AF_INET || !is(a->ifa_name, device))
			continue;
		ip = ntohl(((const struct sockaddr_in *)a->ifa_addr)->sin_addr.s_addr);
		mask = ntohl(((const struct sockaddr_in *)a->ifa_netmask)->sin_addr.s_addr);
		snprintf(out, cap, "%s/%d", sg_ip4_str(ip & mask, text), __builtin_popcount(mask));
	}
	freeifaddrs(list);
}

/* How many of the interfaces that the configuration names are there. */
static size_t lans_present(const json_t *interfaces)
{
	const json_t *i;
	size_t n, present = 0;

	json_array_foreach(interfaces, n, i) present += get_bool(i, "present");
	return present;
}

static void print_lans(const json_t *interfaces)
{
	const json_t *i;
	size_t n;

	json_array_foreach(interfaces, n, i)
	{
		const char *device = get_str(i, "device");
		char net[32];

		network_of(device, net, sizeof(net));
		printf("%s%s(%s%s)  ", net, net[0] ? " " : "", device,
			get_bool(i, "present") ? "" : ": no such interface");
	}
}

struct verdict {
	const char *word;
	enum mood mood;
	const char *text; /* instead of networks and switch */
};

static struct verdict judge(const json_t *kernel, const json_t *vpn)
{
	bool steered = !is(get_str(kernel, "mode"), "off"), asked = !is(get_str(vpn, "mode"), "off");
	const char *state = get_str(vpn, "state");

	if (!json_is_object(kernel))
		return (struct verdict){
			"untouched", MOOD_PLAIN, "skygated runs without skygate-netd: nothing of the LAN is steered"};
	if (!get_bool(kernel, "answered"))
		return (struct verdict){"unknown", MOOD_BAD, get_str(kernel, "why")};
	if (!steered && asked && *get_str(vpn, "mode"))
		return (struct verdict){
			"open", MOOD_BAD, "leaves without protection, disarmed; to end that:  skygate-netd --arm"};
	if (!steered)
		return (struct verdict){"direct", MOOD_PLAIN, "nothing is steered (mode 'off')"};
	if (is(get_str(kernel, "path"), "open"))
		return (struct verdict){
			"open", MOOD_BAD, "leaves without protection, as asked for; to end that:  skygate vpn start"};
	if (!get_bool(kernel, "rules_in_place"))
		return (struct verdict){"unsafe", MOOD_BAD, "the rules are not in the kernel; see:  skygate log"};
	/* Both must say so: the proof that came back, and netd of what it lets through. */
	if (is(state, "connected") && is(get_str(kernel, "path"), "up"))
		return (struct verdict){"protected", MOOD_GOOD, NULL};
	if (!get_bool(kernel, "kill_switch"))
		return (struct verdict){"open", MOOD_BAD, "leaves without protection: the kill switch is off"};
	return (struct verdict){"blocked", MOOD_CARE, NULL};
}

static void show_traffic(const json_t *status)
{
	const json_t *kernel = json_object_get(status, "kernel");
	const json_t *lans = json_object_get(status, "interfaces");
	struct verdict v = judge(kernel, json_object_get(status, "vpn"));
	char count[TERM_TEXT];

	label("traffic");
	if (!v.text && is(get_str(kernel, "mode"), "vpn") && lans_present(lans) == 0) {
		term_word("unsteered", WORD, MOOD_BAD);
		print_lans(lans);
		puts("nothing of a LAN is steered; what there is:  ip -br link");
		return;
	}
	term_word(v.word, WORD, v.mood);
	if (v.text) {
		puts(v.text);
		return;
	}
	if (is(get_str(kernel, "mode"), "host"))
		fputs("this machine  ", stdout);
	else
		print_lans(lans);
	printf("kill switch %s, %s packets blocked\n", get_bool(kernel, "kill_switch") ? "on" : "off",
		term_count((uint64_t)get_int(kernel, "blocked"), count));
}

/* Only what is amiss: clients of an exit would get no answer, and nobody would say why. */
static void show_uplink(const json_t *uplink)
{
	if (!json_is_object(uplink) || get_bool(uplink, "present"))
		return;
	label("uplink");
	term_word("missing", WORD, MOOD_BAD);
	printf("%s: no such interface, so nothing of the clients leaves; what there is:  ip -br link\n",
		get_str(uplink, "device"));
}

/* Only what is amiss: that nothing is lost needs no line. */
static void show_store(const json_t *store)
{
	if (!json_is_object(store) || get_bool(store, "lasts"))
		return;
	label("store");
	term_word("memory", WORD, MOOD_CARE);
	puts("a restart forgets leases, kept transports, answers of services, the transport log");
	printf("  %s\n", *get_str(store, "why") ? get_str(store, "why")
						: "to keep them:  list plugin 'storage-sqlite'  in section visor");
}

int show_status(const json_t *result)
{
	const json_t *vpn = json_object_get(result, "vpn"), *sandbox = json_object_get(result, "sandbox");
	const json_t *held = json_object_get(result, "memory");
	int64_t links = get_int(result, "transports"), pss = get_int(held, "pss");
	char key[TERM_TEXT], memory[TERM_TEXT], up[TERM_TEXT];

	if (json_is_object(vpn)) {
		show_state(vpn);
	} else {
		label("skygate");
		term_word("running", WORD, MOOD_PLAIN);
		puts("no VPN (the plugin app-vpn is not loaded)");
	}
	show_traffic(result);
	show_uplink(json_object_get(result, "uplink"));
	show_proof(vpn);
	label("visor");
	printf("%s   %lld transport%s   memory %s   version %s   up %s\n", term_key(get_str(result, "pk"), key),
		(long long)links, links == 1 ? "" : "s",
		term_bytes((uint64_t)(pss ? pss : get_int(held, "resident")), memory), get_str(result, "version"),
		term_duration(get_int(result, "uptime_ms"), up));
	show_missing(result);
	show_store(json_object_get(result, "store"));
	if (*get_str(sandbox, "why")) {
		label("sandbox");
		puts(get_str(sandbox, "why"));
	}
	show_hints(vpn);
	return EXIT_DONE;
}
