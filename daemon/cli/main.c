/* skygate: NOUN [VERB] [ARGUMENTS], looked up in the table of methods. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/paths.h"
#include "base/suggest.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <time.h>

#define WORDS_MAX     8
#define COMMAND_WIDTH 30

struct args {
	const char *words[WORDS_MAX]; /* what is no option */
	size_t n_words;
	const char *flags[WORDS_MAX]; /* options of a method, like --open */
	size_t n_flags;
	const char *run_dir, *socket, *out, *key;
	bool json, help, version, force;
};

/* ---- help --------------------------------------------------------------------------------------------------------- */

static void usage_line(const struct sg_method_row *m, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	sg_text_addf(&t, "%s%s%s", m->noun, m->verb ? " " : "", m->verb ? m->verb : "");
	for (const struct sg_param *p = m->params; p && p->name; p++) {
		if (p->cli)
			sg_text_addf(&t, p->required ? " %s" : " [%s]", p->cli);
	}
}

/* One that is too long for its column has its sentence below. */
static void print_command(const char *usage, const char *what)
{
	if (strlen(usage) <= COMMAND_WIDTH)
		printf("  %-*s %s\n", COMMAND_WIDTH, usage, what);
	else
		printf("  %s\n  %-*s %s\n", usage, COMMAND_WIDTH, "", what);
}

/* All commands, or those of one noun. */
static void print_commands(const char *noun)
{
	char line[128];

	for (const struct sg_method_row *m = sg_methods(); m->name; m++) {
		if (noun && strcmp(m->noun, noun) != 0)
			continue;
		usage_line(m, line, sizeof(line));
		print_command(line, m->summary);
	}
	if (!noun || strcmp(noun, "keygen") == 0)
		print_command("keygen --out FILE", "make a key for this visor; prints its public half");
	if (!noun || strcmp(noun, "import") == 0)
		print_command("import skywire-config.json", "take over the key and the settings of a Go visor");
}

static int print_help(void)
{
	puts("skygate: looks at the visor of this machine and steers it\n");
	print_commands(NULL);
	puts("\n  --json         the answer as JSON, for programs\n"
	     "  --run DIR      where skygated has its socket (" SG_RUN_DIR ")\n"
	     "  --socket PATH  the socket itself\n"
	     "  --help         also behind a command      --version\n\n"
	     "Keys may be shortened to any beginning that fits one only.\n"
	     "Exit status: 0 done, 1 the thing failed, 2 the command was wrong, 3 skygated is not running.");
	return EXIT_DONE;
}

static int print_method_help(const struct sg_method_row *m)
{
	char line[128];

	usage_line(m, line, sizeof(line));
	printf("skygate %s\n  %s\n", line, m->summary);
	for (const struct sg_param *p = m->params; p && p->name; p++) {
		if (p->cli)
			printf("  %-10s %s\n", p->cli, p->help);
	}
	printf("  %-10s %s\n", "--json", "the answer as JSON, for programs");
	if (m->role == SG_ROLE_ADMIN)
		puts("  for root only");
	return EXIT_DONE;
}

/* ---- finding the command ------------------------------------------------------------------------------------------ */

static int SG_PRINTF(1, 2) wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("skygate: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return EXIT_WRONG;
}

/* With two words the verb must fit; a row without a verb takes what follows as arguments. */
static const struct sg_method_row *find_row(const struct args *a, size_t *used)
{
	const struct sg_method_row *bare = NULL;

	for (const struct sg_method_row *m = sg_methods(); m->name; m++) {
		if (strcmp(m->noun, a->words[0]) != 0)
			continue;
		if (m->verb && a->n_words > 1 && strcmp(m->verb, a->words[1]) == 0) {
			*used = 2;
			return m;
		}
		/* skygate dmsg  is  skygate dmsg status */
		if (!m->verb || (!bare && a->n_words == 1 && strcmp(m->verb, "status") == 0))
			bare = m;
	}
	*used = 1;
	return bare;
}

static size_t rows_of(const char *noun)
{
	size_t n = 0;

	for (const struct sg_method_row *m = sg_methods(); m->name; m++)
		n += strcmp(m->noun, noun) == 0;
	return n;
}

static int say_unknown(const struct args *a)
{
	struct sg_suggest noun = sg_suggest(a->words[0]), verb = sg_suggest(a->n_words > 1 ? a->words[1] : "");
	char verbs[128] = "";
	struct sg_text t = sg_text(verbs, sizeof(verbs));

	for (const struct sg_method_row *m = sg_methods(); m->name; m++) {
		sg_suggest_try(&noun, m->noun);
		if (!m->verb || strcmp(m->noun, a->words[0]) != 0)
			continue;
		sg_text_addf(&t, "%s%s", t.len ? ", " : "", m->verb);
		sg_suggest_try(&verb, m->verb);
	}
	sg_suggest_try(&noun, "keygen");
	sg_suggest_try(&noun, "import");
	if (!t.len && noun.best)
		return wrong("there is no command '%s'\n  did you mean '%s'?      all of them:  skygate --help",
			a->words[0], noun.best);
	if (!t.len)
		return wrong("there is no command '%s'\n  all of them:  skygate --help", a->words[0]);
	if (a->n_words < 2)
		return wrong("%s: what about it?\n  accepted: %s", a->words[0], verbs);
	if (verb.best)
		return wrong("%s: cannot '%s'\n  accepted: %s        did you mean '%s'?", a->words[0], a->words[1],
			verbs, verb.best);
	return wrong("%s: cannot '%s'\n  accepted: %s", a->words[0], a->words[1], verbs);
}

/* ---- arguments ---------------------------------------------------------------------------------------------------- */

static json_t *value_of(const struct sg_param *p, const char *text)
{
	uint64_t n;

	if (p->type == SG_PARAM_STRING)
		return json_string(text);
	if (p->type == SG_PARAM_UINT && sg_parse_u64(text, INT64_MAX, &n) == 0)
		return json_integer((json_int_t)n);
	return NULL;
}

static const struct sg_param *flag_param(const struct sg_method_row *m, const char *flag)
{
	for (const struct sg_param *p = m->params; p && p->name; p++) {
		if (p->cli && strcmp(p->cli, flag) == 0)
			return p;
	}
	return NULL;
}

/* Words and flags as parameters (new); NULL after it said what is wrong. */
static json_t *make_params(const struct sg_method_row *m, const struct args *a, size_t used)
{
	json_t *params = json_object();
	size_t next = used;

	for (const struct sg_param *p = m->params; p && p->name; p++) {
		json_t *value;

		if (!p->cli || p->cli[0] == '-')
			continue;
		if (next == a->n_words && p->required) {
			wrong("%s%s%s wants %s: %s", m->noun, m->verb ? " " : "", m->verb ? m->verb : "", p->cli,
				p->help);
			goto fail;
		}
		if (next == a->n_words)
			continue;
		value = value_of(p, a->words[next]);
		if (!value) {
			wrong("%s: '%s' is not a number\n  it means: %s", p->cli, a->words[next], p->help);
			goto fail;
		}
		next++;
		json_object_set_new(params, p->name, value);
	}
	if (next < a->n_words) {
		wrong("%s%s%s takes no '%s'\n  see:  skygate %s%s%s --help", m->noun, m->verb ? " " : "",
			m->verb ? m->verb : "", a->words[next], m->noun, m->verb ? " " : "", m->verb ? m->verb : "");
		goto fail;
	}
	for (size_t i = 0; i < a->n_flags; i++) {
		const struct sg_param *p = flag_param(m, a->flags[i]);

		if (!p) {
			wrong("%s%s%s takes no option %s\n  see:  skygate %s%s%s --help", m->noun, m->verb ? " " : "",
				m->verb ? m->verb : "", a->flags[i], m->noun, m->verb ? " " : "",
				m->verb ? m->verb : "");
			goto fail;
		}
		json_object_set_new(params, p->name, json_true());
	}
	return params;
fail:
	json_decref(params);
	return NULL;
}

/* An option of our own; *i moves over its value. -1: not one of ours. */
static int own_option(struct args *a, int argc, char **argv, int *i)
{
	static const char *const valued[] = {"--run", "--socket", "--out", "--key"};
	const char **targets[] = {&a->run_dir, &a->socket, &a->out, &a->key};
	const char *o = argv[*i];

	for (size_t k = 0; k < SG_ARRAY_LEN(valued); k++) {
		size_t len = strlen(valued[k]);

		if (strncmp(o, valued[k], len) != 0 || (o[len] && o[len] != '='))
			continue;
		if (o[len] == '=')
			*targets[k] = o + len + 1;
		else if (*i + 1 < argc)
			*targets[k] = argv[++*i];
		else
			return wrong("%s wants a value", valued[k]);
		return 0;
	}
	if (strcmp(o, "--json") == 0)
		a->json = true;
	else if (strcmp(o, "--help") == 0 || strcmp(o, "-h") == 0)
		a->help = true;
	else if (strcmp(o, "--version") == 0)
		a->version = true;
	else if (strcmp(o, "--force") == 0)
		a->force = true;
	else
		return -1;
	return 0;
}

static int parse(struct args *a, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int status = argv[i][0] == '-' && argv[i][1] ? own_option(a, argc, argv, &i) : -1;

		if (status > 0)
			return status;
		if (status == 0)
			continue;
		if (a->n_words + a->n_flags >= WORDS_MAX)
			return wrong("too many arguments\n  see:  skygate --help");
		if (argv[i][0] == '-' && argv[i][1])
			a->flags[a->n_flags++] = argv[i];
		else
			a->words[a->n_words++] = argv[i];
	}
	return 0;
}

/* ---- doing it ----------------------------------------------------------------------------------------------------- */

static int print_json(const json_t *result, size_t flags)
{
	json_dumpf(result, stdout, flags);
	putchar('\n');
	fflush(stdout);
	return EXIT_DONE;
}

/* config.check and config.reload answer with what they found; to find something is to fail. */
static int json_status(const json_t *result)
{
	const json_t *ok = json_object_get(result, "ok");

	return json_is_false(ok) ? EXIT_FAILED : EXIT_DONE;
}

static int follow(struct client *c, bool json)
{
	json_t *line;

	while ((line = client_next(c))) {
		if (json)
			print_json(json_object_get(line, "params"), JSON_COMPACT);
		else
			show_log_line(line);
		json_decref(line);
	}
	fputs("skygate: skygated ended\n", stderr);
	return EXIT_NOT_RUNNING;
}

/* People want to see what flows now: two looks, a moment apart. */
static void add_rates(struct client *c, json_t *result)
{
	const struct timespec moment = {.tv_nsec = 300 * 1000000L};
	json_t *later;
	int status;

	if (strcmp(get_str(json_object_get(result, "vpn"), "state"), "connected") != 0)
		return;
	nanosleep(&moment, NULL);
	later = client_call(c, "vpn.status", NULL, &status);
	if (later)
		status_rates(result, later);
	json_decref(later);
}

static int call(const struct args *a, const struct sg_method_row *m, json_t *params)
{
	char path[4096];
	struct client *c;
	json_t *result;
	int status;

	snprintf(path, sizeof(path), "%s/control.sock", a->run_dir);
	c = client_open(a->socket ? a->socket : path, &status);
	if (!c) {
		if (status == EXIT_NOT_RUNNING && strcmp(m->name, "config.check") == 0)
			fputs("  to look at the file without it:  skygated --check\n", stderr);
		return status;
	}
	result = client_call(c, m->name, params, &status);
	if (result && a->json) {
		print_json(result, JSON_INDENT(2));
		status = json_status(result);
	} else if (result) {
		if (strcmp(m->name, "visor.status") == 0)
			add_rates(c, result);
		status = show(m->name, result);
	}
	json_decref(result);
	if (status == EXIT_DONE && json_is_true(json_object_get(params, "follow")))
		status = follow(c, a->json);
	client_close(c);
	return status;
}

static int run_import(const struct args *a)
{
	struct import_paths p = {.out = a->out ? a->out : SG_CONF_PATH,
		.key = a->key ? a->key : SG_STATE_DIR "/identity.key",
		.force = a->force};

	if (a->help) {
		puts("skygate import FILE\n  take over the key and the settings of a Go visor, from its "
		     "skywire-config.json\n"
		     "  --out FILE   where the configuration goes   (" SG_CONF_PATH ")\n"
		     "  --key FILE   where the key goes             (" SG_STATE_DIR "/identity.key)\n"
		     "  --force      overwrite what is there\n"
		     "  Tells what it took, and each member that it did not take with the reason.");
		return EXIT_DONE;
	}
	if (a->n_flags)
		return wrong("import takes no option %s\n  see:  skygate import --help", a->flags[0]);
	if (a->n_words != 2)
		return wrong("import wants one FILE: the configuration of a Go visor\n  see:  skygate import --help");
	p.in = a->words[1];
	return import(&p, a->json);
}

static int run(const struct args *a)
{
	const struct sg_method_row *m;
	json_t *params;
	size_t used;
	int status;

	if (strcmp(a->words[0], "keygen") == 0) {
		if (a->help) {
			puts("skygate keygen --out FILE\n"
			     "  make a key for this visor; prints its public half\n"
			     "  --out FILE where the key goes, readable by its owner only; nothing is overwritten\n"
			     "  --json     the answer as JSON, for programs");
			return EXIT_DONE;
		}
		if (a->n_words > 1 || a->n_flags || !a->out || a->key || a->force)
			return wrong("keygen wants --out FILE and nothing else");
		return keygen(a->out, a->json);
	}
	if (strcmp(a->words[0], "import") == 0)
		return run_import(a);
	m = find_row(a, &used);
	if (a->help && m && (used == 2 || (a->n_words == 1 && rows_of(a->words[0]) == 1)))
		return print_method_help(m);
	if (a->help && rows_of(a->words[0]) > 0) {
		print_commands(a->words[0]);
		return EXIT_DONE;
	}
	if (!m)
		return say_unknown(a);
	if (a->out || a->key || a->force)
		return wrong("%s belongs to keygen and import", a->out ? "--out" : a->key ? "--key" : "--force");
	params = make_params(m, a, used);
	if (!params)
		return EXIT_WRONG;
	status = call(a, m, params);
	json_decref(params);
	return status;
}

int main(int argc, char **argv)
{
	struct args a = {.run_dir = SG_RUN_DIR};
	int status;

	json_set_alloc_funcs(sg_malloc, sg_free);
	status = parse(&a, argc, argv);
	if (status)
		return status;
	if (a.version) {
		puts("skygate " SG_VERSION);
		return EXIT_DONE;
	}
	if (a.n_words == 0 && (a.help || a.n_flags == 0)) {
		print_help();
		return a.help ? EXIT_DONE : EXIT_WRONG;
	}
	if (a.n_words == 0)
		return wrong("there is no option %s\n  see:  skygate --help", a.flags[0]);
	return run(&a);
}
