/*
 * Which network this visor belongs to: what its configuration names, over what a description gives.
 *
 *	source  'public'        compiled in            '/etc/skygate/net.json'  read at start and reload
 *	        'http://…', 'dmsg://KEY:80'            asked for at start, then once a day; the last answer serves meanwhile
 *
 * Without a source there is no network but what the configuration names: a private one never meets the public one.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "net/internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

SG_LOG_TOPIC("net");

#define ASK_MS   10000
#define AGAIN_MS 86400000
#define FILE_MAX (256 * 1024)

struct deployment {
	struct sg_net *n;
	char source[SG_DEPLOYMENT_URL], part[8];
	struct sg_deployment given, found; /* by the configuration; by the source */
	struct sg_timer timer;
	struct http_call *call;
	struct backoff backoff;
	char name[CACHE_NAME]; /* of the source's last answer */
	char why[300];
};

/* ---- what is in force --------------------------------------------------------------------------------------------------- */

/* In another order each time: not everybody asks the same one first. */
static void shuffle(const struct sg_crypto *c, void *list, size_t n, size_t size)
{
	uint8_t *p = list, tmp[sizeof(((struct sg_deployment *)0)->servers[0])];

	for (size_t i = n; i > 1; i--) {
		uint32_t r;
		size_t j;

		sg_crypto_random(c, &r, sizeof(r));
		j = r % i;
		memcpy(tmp, p + j * size, size);
		memcpy(p + j * size, p + (i - 1) * size, size);
		memcpy(p + (i - 1) * size, tmp, size);
	}
}

static void apply(struct deployment *d)
{
	struct sg_deployment *now = sg_calloc(1, sizeof(*now));

	if (!now) {
		log_warn("memory is out: the network's description is not in force");
		return;
	}
	*now = d->found;
	for (size_t k = 0; k < SG_DEPLOYED; k++) {
		if (d->given.urls[k][0])
			memcpy(now->urls[k], d->given.urls[k], sizeof(now->urls[k]));
	}
	if (d->given.n_servers) {
		memcpy(now->servers, d->given.servers, sizeof(now->servers));
		now->n_servers = d->given.n_servers;
	}
	if (d->given.n_setup_nodes) {
		memcpy(now->setup_nodes, d->given.setup_nodes, sizeof(now->setup_nodes));
		now->n_setup_nodes = d->given.n_setup_nodes;
	}
	net_deployed(d->n, now);
	sg_free(now);
}

/* ---- where it comes from ------------------------------------------------------------------------------------------------ */

static int take(struct deployment *d, struct sg_view text)
{
	struct sg_deployment *found = sg_calloc(1, sizeof(*found));
	int err = found ? sg_deployment_decode(d->n->conf.crypto, text, d->part, found) : -ENOMEM;

	if (err == 0) {
		shuffle(d->n->conf.crypto, found->servers, found->n_servers, sizeof(found->servers[0]));
		shuffle(d->n->conf.crypto, found->setup_nodes, found->n_setup_nodes, sizeof(found->setup_nodes[0]));
		d->found = *found;
	}
	sg_free(found);
	return err;
}

/* The whole file into *text, new. */
static int read_file(const char *path, uint8_t **text, size_t *len)
{
	struct stat st;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = fd < 0 ? -errno : 0;

	*text = NULL;
	if (err == 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX))
		err = SG_ELONG;
	if (err == 0) {
		*text = sg_malloc((size_t)st.st_size + 1);
		n = *text ? read(fd, *text, (size_t)st.st_size) : -1;
		err = n < 0 ? (*text ? -errno : -ENOMEM) : 0;
		*len = n < 0 ? 0 : (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static void tell(struct deployment *d, const char *why)
{
	if (strcmp(d->why, why) != 0)
		log_warn("no description of the network from %s: %s", d->source, why);
	snprintf(d->why, sizeof(d->why), "%s", why);
}

static const char *reason(int err)
{
	return err == SG_EMALF  ? "that is no JSON object"
	       : err == -ENOENT ? "nothing in it is known here: dmsg_servers, dmsg_discovery_dmsg, …"
				: sg_strerror(err);
}

static const char *reason_of_file(int err)
{
	return err == -EACCES    ? "no permission; a directory that the sandbox does not know yet takes a restart"
	       : err == SG_ELONG ? "no file, or longer than 256 KiB"
				 : sg_strerror(err);
}

static void on_answer(void *arg, const struct http_answer *a)
{
	struct deployment *d = arg;
	int64_t next = jitter_ms(d->n->conf.crypto, AGAIN_MS);
	char why[100];
	int err = 0;

	d->call = NULL;
	if (a->err == 0 && a->status == 200)
		err = take(d, a->body);
	snprintf(why, sizeof(why), "status %d", a->status);
	if (a->err < 0 || a->status != 200 || err < 0) {
		tell(d, a->err < 0 ? a->why : a->status != 200 ? why : reason(err));
		next = backoff_next(&d->backoff, d->n->conf.crypto);
	} else {
		if (d->why[0])
			log_info("the network's description came from %s", d->source);
		d->why[0] = '\0';
		backoff_reset(&d->backoff);
		cache_put(d->n->cache, d->name, a->body);
		apply(d);
	}
	sg_timer_start(&d->timer, next);
}

static void on_timer(void *arg)
{
	struct deployment *d = arg;
	struct http_ask ask = {
		.method = "GET", .base = d->source, .path = "", .timeout_ms = ASK_MS, .body_max = FILE_MAX};
	int err = d->call ? 0 : http_ask(d->n->http, &ask, on_answer, d, &d->call);

	if (err == 0)
		return;
	tell(d, err == -ENOTSUP ? "dmsg is not there (yet): it needs  list plugin 'transport-dmsg'" : sg_strerror(err));
	sg_timer_start(&d->timer, backoff_next(&d->backoff, d->n->conf.crypto));
}

/* NULL, or what is wrong. */
static const char *take_file(struct deployment *d)
{
	uint8_t *text;
	size_t len = 0;
	int err = read_file(d->source, &text, &len);
	const char *why = err < 0 ? reason_of_file(err) : NULL;

	if (err == 0 && (err = take(d, (struct sg_view){text, len})) < 0)
		why = reason(err);
	sg_free(text);
	return why;
}

static void read_source(struct deployment *d)
{
	struct sg_view last;
	const char *why = NULL;
	int err;

	if (strcmp(d->source, "public") == 0) {
		err = take(d, (struct sg_view){net_public_json, net_public_json_len});
		why = err < 0 ? reason(err) : NULL;
	} else if (d->source[0] == '/') {
		why = take_file(d);
	} else if (d->source[0]) {
		if (cache_get(d->n->cache, d->name, &last))
			(void)take(d, last);
		sg_timer_start(&d->timer, 0);
	}
	if (why)
		tell(d, why);
}

/* ---- the configuration --------------------------------------------------------------------------------------------------- */

static void read_given(struct deployment *d, const struct sg_uci_section *s)
{
	const struct sg_uci_option *servers = s ? sg_uci_option(s, "dmsg_server") : NULL;
	const struct sg_uci_option *nodes = s ? sg_uci_option(s, "setup_node") : NULL;
	struct sg_deployment *g = &d->given;
	struct sg_disc_entry e;

	memset(g, 0, sizeof(*g));
	for (size_t k = 0; s && k < SG_DEPLOYED; k++)
		snprintf(
			g->urls[k], sizeof(g->urls[k]), "%s", sg_uci_get(s, sg_deployed_name((enum sg_deployed)k), ""));
	if (servers) {
		sg_list_for (it, &servers->values) {
			const char *text = sg_container_of(it, struct sg_uci_value, node)->text;

			if (g->n_servers == SG_DEPLOYMENT_SERVERS_MAX ||
				disc_server_parse(d->n->conf.crypto, text, &e) < 0)
				continue;
			g->servers[g->n_servers].pk = e.pk;
			memcpy(g->servers[g->n_servers++].address, e.address, sizeof(e.address));
		}
	}
	if (!nodes)
		return;
	sg_list_for (it, &nodes->values) {
		const char *text = sg_container_of(it, struct sg_uci_value, node)->text;

		if (g->n_setup_nodes < SG_DEPLOYMENT_SETUP_MAX &&
			sg_pk_parse(d->n->conf.crypto, text, strlen(text), &g->setup_nodes[g->n_setup_nodes]) == 0)
			g->n_setup_nodes++;
	}
}

void deployment_configure(struct deployment *d, const struct sg_uci_section *s)
{
	const char *source = s ? sg_uci_get(s, "source", "") : "", *part = s ? sg_uci_get(s, "part", "prod") : "prod";
	bool changed = strcmp(d->source, source) != 0 || strcmp(d->part, part) != 0;
	char tag[CACHE_TAG];

	read_given(d, s);
	/* A file may hold something else than before. */
	if (changed || source[0] == '/') {
		if (d->call)
			http_cancel(d->call);
		d->call = NULL;
		sg_timer_stop(&d->timer);
		snprintf(d->source, sizeof(d->source), "%s", source);
		snprintf(d->name, sizeof(d->name), "deployment/%s", cache_tag(source, tag));
		snprintf(d->part, sizeof(d->part), "%s", part);
		d->why[0] = '\0';
		backoff_reset(&d->backoff);
		if (changed)
			memset(&d->found, 0, sizeof(d->found));
		read_source(d);
	}
	apply(d);
}

void deployment_kept(struct deployment *d)
{
	struct sg_view last;
	bool asked = d->source[0] && d->source[0] != '/' && strcmp(d->source, "public") != 0;

	if (asked && !d->found.n_servers && cache_get(d->n->cache, d->name, &last) && take(d, last) == 0)
		apply(d);
}

const char *deployment_file_why(const struct sg_crypto *c, const char *path, const char *part)
{
	struct sg_deployment *found;
	const char *why = NULL;
	uint8_t *text;
	size_t len = 0;
	int err = read_file(path, &text, &len);

	if (err < 0) {
		why = reason_of_file(err);
	} else {
		found = sg_calloc(1, sizeof(*found));
		err = found ? sg_deployment_decode(c, (struct sg_view){text, len}, part, found) : -ENOMEM;
		why = err < 0 ? reason(err) : NULL;
		sg_free(found);
	}
	sg_free(text);
	return why;
}

bool deployment_source_ok(const char *source)
{
	return strcmp(source, "public") == 0 || source[0] == '/' || http_url_ok(source);
}

struct deployment *deployment_new(struct sg_net *n)
{
	struct deployment *d = sg_calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->n = n;
	d->backoff = SERVICE_BACKOFF;
	sg_timer_init(&d->timer, n->conf.loop, on_timer, d);
	return d;
}

void deployment_free(struct deployment *d)
{
	if (!d)
		return;
	sg_timer_stop(&d->timer);
	if (d->call)
		http_cancel(d->call);
	sg_free(d);
}
