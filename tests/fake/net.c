#include "fake/net.h"
#include "base/alloc.h"
#include "base/hex.h"
#include "loop/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void begin(struct fake_net *f)
{
	f->net = net_new(&f->conf);
	assert_non_null(f->net);
	net_network_set(f->net, "dmsg", &web_ops, &f->web);
}

static void end(struct fake_net *f)
{
	net_network_set(f->net, "dmsg", NULL, NULL);
	net_free(f->net);
}

void fake_net_init(struct fake_net *f, web_fn *serve, void *arg)
{
	fake_clock_init(&f->clock);
	f->loop = sg_loop_new(&f->clock.base);
	assert_non_null(f->loop);
	f->crypto = sg_crypto_new(sg_random_system());
	assert_non_null(f->crypto);
	f->keys = (struct store_space){store_new(f->loop, store_wall_s), f, "net"};
	assert_non_null(f->keys.store);
	f->conf = (struct sg_net_conf){.loop = f->loop, .crypto = f->crypto, .keys = &f->keys};
	fake_net_key(f, &f->conf.sk, &f->conf.pk);
	web_init(&f->web, f->loop, serve, arg);
	begin(f);
}

int fake_net_teardown(void **state)
{
	struct fake_net *f = *state;

	end(f);
	sg_worker_free(f->conf.worker);
	store_free(f->keys.store);
	web_fini(&f->web);
	sg_crypto_free(f->crypto);
	sg_loop_free(f->loop);
	free(f);
	return 0;
}

void fake_net_restart(struct fake_net *f)
{
	end(f);
	fake_net_run(f, 100);
	begin(f);
}

static void refused(void *arg, unsigned line, const char *message)
{
	(void)arg;
	fail_msg("line %u of the configuration: %s", line, message);
}

void fake_net_configure(struct fake_net *f, const char *options, ...)
{
	static const char section[] = "config deployment\n";
	char text[1000];
	struct sg_uci *doc;
	va_list args;
	int len = snprintf(text, sizeof(text), "%s", section);

	va_start(args, options);
	len += vsnprintf(text + len, sizeof(text) - (size_t)len, options, args);
	va_end(args);
	assert_in_range(len, sizeof(section) - 1, sizeof(text) - 1);
	assert_int_equal(sg_uci_parse(text, (size_t)len, "conf", refused, NULL, &doc), 0);
	assert_int_equal(net_check(f->crypto, doc, refused, NULL), 0);
	net_configure(f->net, doc);
	sg_uci_free(doc);
}

void fake_net_service(struct fake_net *f, const char *option, const struct sg_pk *pk)
{
	char text[SG_PK_TEXT];

	if (pk)
		fake_net_configure(f, "\toption %s 'dmsg://%s:80'\n", option, sg_pk_str(pk, text));
	else
		fake_net_configure(f, "%s", "");
}

json_t *fake_net_services(const struct fake_net *f)
{
	struct sg_json_out out = {.max = SIZE_MAX};
	char *text;
	json_t *list;

	net_services(f->net, &out, NULL);
	text = sg_json_take(&out);
	assert_non_null(text);
	list = json_loads(text, 0, NULL);
	assert_non_null(list);
	sg_free(text);
	return list;
}

void fake_net_run(struct fake_net *f, int64_t ms)
{
	for (int64_t at = 0; at < ms; at += 100) {
		fake_clock_add_ms(&f->clock, 100);
		for (int i = 0; i < 12; i++)
			sg_loop_step(f->loop, 0);
	}
}

void fake_net_key(const struct fake_net *f, struct sg_sk *sk, struct sg_pk *pk)
{
	struct sg_sk own;

	if (!sk)
		sk = &own;
	sg_sk_generate(f->crypto, sk);
	assert_int_equal(sg_pk_of(f->crypto, sk, pk), 0);
}
