/*
 * A visor's net/ and what it needs: clock, loop, store, and a network whose services are a function of the test (web.h).
 * For cmocka programs, whose state begins with it: what cannot be set up fails the test.
 */
#ifndef SG_TESTS_FAKE_NET_H
#define SG_TESTS_FAKE_NET_H

#include "fake/clock.h"
#include "fake/web.h"
#include "net/net.h"

struct fake_net {
	struct fake_clock clock;
	struct sg_loop *loop;
	struct sg_crypto *crypto;
	struct store_space keys;
	struct sg_net_conf conf; /* our keys are in it */
	struct web web;
	struct sg_net *net;
};

/** fake_net_init - @f stays where it is until fake_net_teardown. Nothing is configured yet. */
void fake_net_init(struct fake_net *f, web_fn *serve, void *arg);
/** fake_net_teardown - for cmocka: frees the state, too. */
int fake_net_teardown(void **state);
/** fake_net_restart - as the process anew: of the former one only its keys and the store are left. */
void fake_net_restart(struct fake_net *f);
/** fake_net_configure - a section deployment of these lines, checked and taken over. */
void fake_net_configure(struct fake_net *f, const char *options, ...) __attribute__((format(printf, 2, 3)));
/** fake_net_service - a section deployment of that option alone, dmsg://@pk:80; NULL: without it. */
void fake_net_service(struct fake_net *f, const char *option, const struct sg_pk *pk);
/** fake_net_services - what net_services puts. Returns new. */
json_t *fake_net_services(const struct fake_net *f);
/** fake_net_run - time passes in steps of 100 ms. */
void fake_net_run(struct fake_net *f, int64_t ms);
/** fake_net_key - somebody's key; @sk may be NULL. */
void fake_net_key(const struct fake_net *f, struct sg_sk *sk, struct sg_pk *pk);

#endif
