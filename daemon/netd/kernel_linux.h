/* What the files of the real kernel share; nobody else includes it. */
#ifndef SG_NETD_KERNEL_LINUX_H
#define SG_NETD_KERNEL_LINUX_H

#include "netd/kernel.h"

#include <libmnl/libmnl.h>

struct kernel {
	struct mnl_socket *route;               /* questions and changes */
	struct mnl_socket *nft;                 /* the same for netfilter */
	struct mnl_socket *events[K_EVENT_FDS]; /* rtnetlink, netfilter */
	struct nft_ctx *guard;                  /* its socket owns the guard's table; NULL: none was wanted yet */
	uint32_t seq;
};

/** kernel_talk - sends one message; each answer goes to @cb until the end or the acknowledgement. */
int kernel_talk(struct kernel *k, struct mnl_socket *s, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);

#endif
