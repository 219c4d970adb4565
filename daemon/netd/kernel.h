/*
 * The kernel as netd needs it: what is there (links, addresses, policy rules, one routing table), a few changes, one
 * nftables table as text, TUN devices, sysctls, conntrack. kernel_linux*.c is the real one; tests link
 * tests/fake/kernel.c instead.
 *
 * All calls return 0 or a negative errno. Not thread-safe; blocking for the time of a netlink answer.
 */
#ifndef SG_NETD_KERNEL_H
#define SG_NETD_KERNEL_H

#include "base/common.h"

#include <net/if.h>
#include <sys/socket.h>

/* Our marks in the kernel (contracts). */
#define NETD_TABLE       5100            /* routing table, unless configured otherwise */
#define NETD_PRIORITY    5100            /* of the first of our rules, likewise; these are added to it: */
#define NETD_PRIO_CORE   0               /* core by its uid → main */
#define NETD_PRIO_LAN    5               /* toward the LAN's own prefixes, and from the leased address → our table */
#define NETD_PRIO_OWN    7               /* from the LAN, with a source of its prefixes → go on at NETD_PRIO_STEER */
#define NETD_PRIO_FORGED 8               /* from the LAN, with another source → nowhere, silently */
#define NETD_PRIO_STEER  10              /* from the LAN and from the TUN → our table */
#define NETD_PROTO       98              /* route protocol: these are ours */
#define NETD_GUARD       "skygate_guard" /* table, beside inet skygate */
/*
 * Packets, txqueuelen. Core reads the TUN always, and the queue that makes senders slow down is its own; this one only
 * bridges the milliseconds in which core has not the processor. 64 packets are 2 ms of small datagrams.
 */
#define NETD_TUN_QUEUE   500
#define NETD_LAST_METRIC 4278198272u

struct kernel;

/* An address or a prefix, bytes in network order. */
struct k_prefix {
	uint8_t family; /* AF_INET, AF_INET6; 0: none */
	uint8_t bits;
	uint8_t b[16];
};

struct k_link {
	uint32_t index;
	char name[IFNAMSIZ];
	bool up, loopback;
	uint32_t mtu, queue;
};

struct k_addr {
	char dev[IFNAMSIZ];
	struct k_prefix p; /* the address; bits is its prefix's length */
};

enum k_verdict { K_LOOKUP = 0, K_GO_ON = 1, K_NOWHERE = 2 }; /* in @table; at rule @go_on; dropped without a word */

struct k_rule {
	uint8_t family; /* besides the two: RTNL_FAMILY_IPMR, RTNL_FAMILY_IP6MR, where multicast is forwarded */
	enum k_verdict verdict;
	uint32_t prio, table, go_on;
	char iif[IFNAMSIZ]; /* "": any */
	bool by_uid;
	uint32_t uid;
	struct k_prefix from, to; /* family 0: any */
};

/* Of our table, or of one that rules of ours still name. */
struct k_route {
	uint32_t table;
	struct k_prefix dst; /* its family is the route's */
	bool unreachable;
	char dev[IFNAMSIZ]; /* "" when unreachable */
	bool foreign;       /* found there, but of a kind that we do not make */
	uint32_t metric;
};

/* What is there. All zero is an empty one; k_view_fini frees and empties it. */
struct k_view {
	struct k_link *links;
	struct k_addr *addrs;
	struct k_rule *rules; /* those with our protocol */
	struct k_route *routes;
	size_t n_links, n_addrs, n_rules, n_routes;
	bool multicast[2]; /* whether rules about forwarded multicast exist here: IPv4, IPv6 */
};

enum k_changed { K_LINKS = 1, K_ADDRS = 2, K_ROUTES = 4, K_NFT = 8 };

struct k_counts {
	uint64_t blocked, refused, forged;
};

/* view.c */

/** k_push - appends a copy to an array that grows by doubling. -ENOMEM leaves it as it was. */
int k_push(void *array, size_t *n, size_t size, const void *item);
void k_view_fini(struct k_view *v);
const struct k_link *k_view_link(const struct k_view *v, const char *name);
bool k_prefix_equal(const struct k_prefix *a, const struct k_prefix *b);
/** k_prefix_has - whether @inner, as a prefix or an address, lies within @outer. */
bool k_prefix_has(const struct k_prefix *outer, const struct k_prefix *inner);
/** k_prefix_net - the address with its host bits cleared. */
struct k_prefix k_prefix_net(const struct k_prefix *p);
struct k_prefix k_prefix4(uint32_t host_order, unsigned bits);
#define K_PREFIX_TEXT 64
/** k_prefix_str - "192.0.2.0/24". Returns @buf. */
char *k_prefix_str(const struct k_prefix *p, char buf[K_PREFIX_TEXT]);

/* kernel_linux.c */

/** kernel_open - on an error @why holds a sentence with its cure. Free with kernel_close. */
int kernel_open(struct kernel **out, char *why, size_t cap);
void kernel_close(struct kernel *k);

/** kernel_sysctl_get - @key as a path below /proc/sys. The text without its newline. */
int kernel_sysctl_get(struct kernel *k, const char *key, char *out, size_t cap);
int kernel_sysctl_set(struct kernel *k, const char *key, const char *value);
/**
 * kernel_tun_open - creates the device or takes it over; *fd is non-blocking. *offload: segmentation can be switched
 * on. The device lives as long as a duplicate of *fd. On an error @why holds a sentence with its cure.
 */
int kernel_tun_open(struct kernel *k, const char *name, int *fd, bool *offload, char *why, size_t cap);
/** kernel_tune - congestion control and queue limit of a TCP socket; -EINVAL when it is none. */
int kernel_tune(struct kernel *k, int fd);

/* kernel_linux_route.c */

/**
 * kernel_read - links, addresses, our rules, and the routes of @table (0: none) and of those that our rules name. On
 * an error *out is empty.
 */
int kernel_read(struct kernel *k, uint32_t table, struct k_view *out);
int kernel_rule(struct kernel *k, bool add, const struct k_rule *rule);
int kernel_route(struct kernel *k, bool add, const struct k_route *route);
int kernel_addr(struct kernel *k, bool add, const struct k_addr *addr);
/** kernel_link_up - brings a TUN up with its MTU and queue. */
int kernel_link_up(struct kernel *k, const char *name, uint32_t mtu, uint32_t queue);

/* kernel_linux_nft.c */

/** kernel_nft_run - one transaction. On an error @why is what libnftables says. */
int kernel_nft_run(struct kernel *k, const char *text, char *why, size_t cap);
/**
 * kernel_guard - the same for the text of table NETD_GUARD, NULL removes it. It is ours alone: no other process can
 * change or flush it, and it goes with kernel_close or our end. Kernels before 5.12 refuse it.
 */
int kernel_guard(struct kernel *k, const char *text, char *why, size_t cap);
/** kernel_guarded - whether there is such a table, of any process. */
bool kernel_guarded(struct kernel *k);
/** kernel_nft_list - our table without counter values, returns new in *out (sg_free). -ENOENT: it is not there. */
int kernel_nft_list(struct kernel *k, char **out);
/** kernel_nft_gen - the ruleset's generation: changes with every transaction of anybody. */
int kernel_nft_gen(struct kernel *k, uint32_t *gen);
int kernel_counts(struct kernel *k, struct k_counts *out);
/** kernel_flush - forgets connections from or toward the prefixes; all of them when @all. */
int kernel_flush(struct kernel *k, const struct k_prefix *prefixes, size_t n, bool all);

/* Events. The descriptors are the kernel object's; kernel_events empties one and says what changed (enum k_changed). */
#define K_EVENT_FDS 2
int kernel_event_fd(struct kernel *k, size_t which);
unsigned kernel_events(struct kernel *k, size_t which);

#endif
