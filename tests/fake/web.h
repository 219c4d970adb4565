/*
 * HTTP services behind dmsg:// URLs, without network or dmsg: what the client asks reaches a function of the test, in the
 * next round of the loop.
 */
#ifndef SG_TESTS_FAKE_WEB_H
#define SG_TESTS_FAKE_WEB_H

#include "base/list.h"
#include "crypto/crypto.h"
#include "loop/loop.h"
#include "wire/http.h"
#include <skygate/plugin.h>

struct web_request {
	const struct sg_pk *service; /* whom it asked */
	const char *method, *target;
	const struct sg_http *msg; /* for headers */
	struct sg_view body;
	int status;          /* of the answer; 0: none ever comes */
	char out[32 * 1024]; /* its body, as text */
};

typedef void web_fn(void *arg, struct web_request *r);

struct web {
	struct sg_loop *loop;
	web_fn *fn;
	void *arg;
	bool dead; /* nobody can be dialled */
	size_t requests, open, open_max;
	struct sg_list talks;
};

extern const struct sg_network_ops web_ops; /* ctx: the struct web */

void web_init(struct web *w, struct sg_loop *loop, web_fn *fn, void *arg);
/** web_fini - after the client is gone. */
void web_fini(struct web *w);
/** web_nonce - answers a question for the next nonce; false: it asks for something else. */
bool web_nonce(struct web_request *r, uint64_t next);
/** web_signed - sg_httpauth_verify of a request. */
int web_signed(const struct web_request *r, const struct sg_crypto *c, struct sg_pk *who, uint64_t *nonce);

#endif
