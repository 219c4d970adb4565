/*
 * Which network a visor belongs to: none unless it is told; the public one, one of a file, one of a service; and what the
 * configuration names goes before all of them.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/net.h"
#include "wire/deployment.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define KEY "02e6645e1c408793ddeb5e9ec081ca3075ad2be30ca922cd537299e56337432a28"
#define TWO "032664cf6c7d841ee6cc8513d5c797a3836a64ec7d88b88f118637f0921ca0b1d6"

struct world {
	struct fake_net us; /* first */
	int status;
	const char *body;
	size_t asked, answers, n_servers;
	int err;
	struct sg_disc_entry entry;
};

static void serve(void *arg, struct web_request *r)
{
	struct world *w = arg;
	char pk[SG_PK_TEXT];

	if (strcmp(sg_pk_str(r->service, pk), TWO) != 0) {
		r->status = 404;
		return;
	}
	w->asked++;
	assert_string_equal(r->target, "/");
	r->status = w->status;
	snprintf(r->out, sizeof(r->out), "%s", w->body);
}

static void run(struct world *w, int64_t ms)
{
	fake_net_run(&w->us, ms);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	fake_net_init(&w->us, serve, w);
	w->status = 200;
	*state = w;
	return 0;
}

static void configure(struct world *w, const char *options)
{
	fake_net_configure(&w->us, "%s", options);
}

static void on_servers(void *arg, int err, const struct sg_disc_entry *entries, size_t n, const char *why)
{
	struct world *w = arg;

	(void)why;
	w->answers++;
	w->err = err;
	w->n_servers = n;
	if (n)
		w->entry = entries[0];
}

static size_t servers(struct world *w)
{
	assert_int_equal(net_disc_servers(w->us.net, w, on_servers, w), 0);
	run(w, 300);
	return w->err < 0 ? 0 : w->n_servers;
}

static const char *url_of(struct world *w, const char *name)
{
	static char url[SG_DEPLOYMENT_URL];
	json_t *list = fake_net_services(&w->us), *i;
	size_t at;

	url[0] = '\0';
	json_array_foreach(list, at, i)
	{
		if (strcmp(json_string_value(json_object_get(i, "name")), name) == 0)
			snprintf(url, sizeof(url), "%s", json_string_value(json_object_get(i, "url")));
	}
	json_decref(list);
	return url;
}

static void none_unless_told(void **state)
{
	struct world *w = *state;

	configure(w, "\tlist dmsg_server '" KEY "@192.0.2.1:8081'\n");
	run(w, 600000);
	assert_int_equal(w->us.web.requests, 0);
	assert_int_equal(servers(w), 1);
	assert_string_equal(url_of(w, "transport discovery"), "");
}

static void the_public_one(void **state)
{
	struct world *w = *state;
	struct sg_pk pk;
	size_t n, first = 0;

	configure(w, "\toption source 'public'\n");
	assert_int_equal(servers(w), 9);
	assert_string_equal(url_of(w, "transport discovery"),
		"dmsg://02b307aee5c8ce1666c63891f8af25ad2f0a47a243914c963942b3ba35b9d095ae:80");
	assert_string_equal(url_of(w, "uptime tracker"), "");
	net_setup_nodes(w->us.net, &n);
	assert_int_equal(n, 2);
	/* Its services are clients of every server, and never looked up. */
	assert_int_equal(sg_pk_parse(w->us.crypto, "039d89c5eedfda4a28b0c58b0b643eff949f08e4f68c8357278081d26f5a592d74",
				 66, &pk),
		0);
	assert_int_equal(net_disc_entry(w->us.net, w, &pk, on_servers, w), 0);
	run(w, 300);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->entry.n_servers, 9);
	assert_int_equal(w->us.web.requests, 0);
	/* Not everybody begins with the same server. */
	assert_int_equal(servers(w), 9);
	pk = w->entry.pk;
	for (int i = 0; i < 40; i++) {
		configure(w, "");
		configure(w, "\toption source 'public'\n");
		assert_int_equal(servers(w), 9);
		first += !sg_pk_equal(&pk, &w->entry.pk);
	}
	assert_true(first > 0);
	/* What is named goes first; the rest stays. */
	configure(w, "\toption source 'public'\n\toption transport_discovery 'http://192.0.2.1:9091'\n"
		     "\tlist dmsg_server '" KEY "@192.0.2.1:8081'\n");
	assert_string_equal(url_of(w, "transport discovery"), "http://192.0.2.1:9091");
	assert_int_equal(servers(w), 1);
	assert_int_not_equal(strlen(url_of(w, "route finder")), 0);
}

static void one_of_a_file(void **state)
{
	struct world *w = *state;
	char path[] = "/tmp/sg-deployment-XXXXXX", options[200];
	int fd = mkstemp(path);
	static const char text[] =
		"{\"test\":{\"address_resolver\":\"http://192.0.2.9\",\"more\":1,\"route_setup_nodes\":[\"" KEY
		"\",\"zz\",7]},"
		"\"prod\":{\"dmsg_servers\":[{\"static\":\"" KEY "\",\"server\":{\"address\":\"192.0.2.1:1\"}},"
		"{\"static\":\"" KEY "\",\"server\":{\"address\":\"192.0.2.1\"}},{\"static\":\"zz\"},3],"
		"\"address_resolver\":\"http://192.0.2.1\",\"address_resolver_dmsg\":\"" TWO ":80\"}}";

	assert_true(fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
	snprintf(options, sizeof(options), "\toption source '%s'\n", path);
	configure(w, options);
	assert_int_equal(servers(w), 1);
	assert_string_equal(w->entry.address, "192.0.2.1:1");
	assert_string_equal(url_of(w, "address resolver"), "dmsg://" TWO ":80");
	snprintf(options, sizeof(options), "\toption source '%s'\n\toption part 'test'\n", path);
	configure(w, options);
	assert_string_equal(url_of(w, "address resolver"), "http://192.0.2.9");
	/* Gone, or no JSON: what it said stays until the next start, and the rest of the configuration is in force. */
	assert_int_equal(ftruncate(fd, 5), 0);
	configure(w, options);
	assert_string_equal(url_of(w, "address resolver"), "http://192.0.2.9");
	unlink(path);
	close(fd);
}

static void one_of_a_service(void **state)
{
	struct world *w = *state;

	w->status = 503;
	w->body = "{\"dmsg_servers\":[{\"static\":\"" KEY "\",\"server\":{\"address\":\"192.0.2.1:1\"}}],"
		  "\"route_finder\":\"http://192.0.2.1:9092\"}";
	configure(w, "\toption source 'dmsg://" TWO ":80'\n");
	run(w, 60000);
	assert_in_range(w->asked, 4, 8);
	assert_string_equal(url_of(w, "route finder"), "");
	w->status = 200;
	run(w, 70000);
	assert_string_equal(url_of(w, "route finder"), "http://192.0.2.1:9092");
	assert_int_equal(servers(w), 1);
	w->asked = 0;
	run(w, 3600000);
	assert_int_equal(w->asked, 0);
	/* No source any more: nothing of it is left. */
	configure(w, "");
	assert_string_equal(url_of(w, "route finder"), "");
	run(w, 100000);
	assert_int_equal(w->asked, 0);
}

/* The same process again, with nothing but the store; another source was configured meanwhile. */
static void another_source_after_a_restart(void **state)
{
	struct world *w = *state;

	w->body = "{\"route_finder\":\"http://192.0.2.1:9092\"}";
	configure(w, "\toption source 'dmsg://" TWO ":80'\n");
	run(w, 1000);
	assert_string_equal(url_of(w, "route finder"), "http://192.0.2.1:9092");
	for (int i = 0; i < 2; i++) {
		fake_net_restart(&w->us);
		w->status = 503;
		configure(w, i ? "\toption source 'dmsg://" TWO ":80'\n" : "\toption source 'dmsg://" KEY ":80'\n");
		run(w, 1000);
		assert_string_equal(url_of(w, "route finder"), i ? "http://192.0.2.1:9092" : "");
	}
}

static int n_found;

static void report(void *arg, unsigned line, const char *message)
{
	(void)line;
	n_found++;
	if (arg)
		assert_non_null(strstr(message, arg));
}

static void bad_sources(void **state)
{
	static const char *const bad[] = {"publik", "https://192.0.2.1", "net.json", "dmsg://"};
	struct world *w = *state;
	char text[200];

	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++) {
		struct sg_uci *doc;
		int len = snprintf(text, sizeof(text), "config deployment\n\toption source '%s'\n", bad[i]);

		n_found = 0;
		assert_int_equal(sg_uci_parse(text, (size_t)len, "conf", NULL, NULL, &doc), 0);
		assert_int_equal(net_check(w->us.crypto, doc, report, (void *)(uintptr_t) "accepted: public"), 1);
		assert_int_equal(n_found, 1);
		sg_uci_free(doc);
	}
}

/* --check called a configuration valid whose file is not there, is no JSON or says nothing that is known. */
static void files_that_give_nothing(void **state)
{
	static const char *const texts[] = {"{", "{\"prod\":{\"more\":1}}", NULL};
	static const char *const whys[] = {"no JSON object", "nothing in it is known", "No such file"};
	struct world *w = *state;
	char path[] = "/tmp/sg-deployment-XXXXXX", text[200];
	int fd = mkstemp(path);
	struct sg_uci *doc;
	int len = snprintf(text, sizeof(text), "config deployment\n\toption source '%s'\n", path);

	assert_int_equal(sg_uci_parse(text, (size_t)len, "conf", NULL, NULL, &doc), 0);
	for (size_t i = 0; i < SG_ARRAY_LEN(texts); i++) {
		if (texts[i]) {
			assert_int_equal(ftruncate(fd, 0), 0);
			assert_true(pwrite(fd, texts[i], strlen(texts[i]), 0) > 0);
		} else {
			unlink(path);
		}
		n_found = 0;
		assert_int_equal(net_check_files(w->us.crypto, doc, report, (void *)(uintptr_t)whys[i]), 1);
		assert_int_equal(n_found, 1);
	}
	close(fd);
	sg_uci_free(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(none_unless_told, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(the_public_one, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(one_of_a_file, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(one_of_a_service, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(another_source_after_a_restart, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(bad_sources, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(files_that_give_nothing, setup, fake_net_teardown),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("deployment", tests, NULL, NULL);
}
