/*
 * Messages between netd (privileged) and core over one inherited SOCK_SEQPACKET pair; one message per datagram, a
 * descriptor rides along where the table says so. Each side treats the other's as hostile: sizes and values are
 * checked before anything is done. No message names an interface, a prefix, a user or a path.
 *
 *	type u8 | 0 u8 | 0 u16 | id u32 | body          an answer has type | 0x80 and the id of its question
 */
#ifndef SG_WIRE_NETD_H
#define SG_WIRE_NETD_H

#include "base/limits.h"
#include <skygate/plugin.h>

enum sg_netd_type {
	SG_NETD_HEARTBEAT = 1, /* core: every second. Body empty; no answer */
	SG_NETD_TUN_OPEN = 2,  /* core: role u8 → answer: err, tun, descriptor */
	SG_NETD_LEASE_SET = 3, /* core: address u32 | gateway u32, 0 0: given back → answer: err */
	SG_NETD_PATH = 4,      /* core: state u8 → answer: err */
	SG_NETD_TUNE = 5,      /* core: a TCP socket rides along → answer: err */
	SG_NETD_COUNTERS = 6,  /* core: empty → answer: err, status */
	SG_NETD_APPLY = 7,     /* core: the configuration file changed, read it → answer: err, text */
	SG_NETD_CHANGED = 8    /* netd: what u8: links, addresses or routes of the machine changed; no answer */
};
#define SG_NETD_ANSWER 0x80

/* OPEN: skygate vpn stop --open; steered traffic leaves as if we were not there, until another state arrives. */
enum sg_netd_path { SG_PATH_UNWANTED = 0, SG_PATH_DOWN = 1, SG_PATH_UP = 2, SG_PATH_OPEN = 3 };

/* core's exit status when only a change of its configuration or key helps: netd takes its time */
#define SG_CORE_NOT_VALID 2

#define SG_NETD_HEAD     8
#define SG_NETD_TEXT_MAX 512

struct sg_netd_status {
	uint8_t mode; /* 0 off, 1 vpn, 2 host */
	bool kill_switch;
	bool rules_in_place;               /* table, rules and routes read back from the kernel just now */
	uint8_t path;                      /* enum sg_netd_path as netd knows it */
	uint64_t blocked, refused, forged; /* packets since netd started */
	uint32_t restarts;                 /* of core */
	uint64_t memory;                   /* bytes that netd holds, its part of shared pages; 0: not known */
};

struct sg_netd_msg {
	uint8_t type; /* with SG_NETD_ANSWER */
	uint32_t id;
	int32_t err;                 /* answers */
	char text[SG_NETD_TEXT_MAX]; /* answers with an error, a sentence; "" otherwise */
	union {
		uint8_t role; /* TUN_OPEN */
		uint8_t path; /* PATH */
		uint8_t what; /* CHANGED */
		struct {
			uint32_t address, gateway;
		} lease;                      /* LEASE_SET */
		struct sg_tun tun;            /* answer to TUN_OPEN; fd is not in the bytes */
		struct sg_netd_status status; /* answer to COUNTERS */
	} u;
};

SG_BEGIN_DECLS

/** sg_netd_encode - length or SG_ELONG. */
int sg_netd_encode(const struct sg_netd_msg *m, uint8_t *out, size_t cap);
/** sg_netd_decode - exactly one message; from_core tells which direction's types are legal. 0 or SG_EMALF. */
int sg_netd_decode(struct sg_view in, bool from_core, struct sg_netd_msg *out);

/* One datagram with at most one descriptor. Non-blocking; any thread that owns @fd. */
/** sg_netd_send - borrows @pass (-1: none). 0 or a negative errno. */
int sg_netd_send(int fd, const struct sg_netd_msg *m, int pass);
/**
 * sg_netd_recv - 0 and the message; *pass is a descriptor now yours, or -1. -EAGAIN; -EPIPE: the other end is gone;
 * SG_EMALF: a bad message (its descriptors are closed).
 */
int sg_netd_recv(int fd, bool from_core, struct sg_netd_msg *out, int *pass);

SG_END_DECLS
#endif
