/* Packets from and to the kernel: a TUN descriptor with a virtio_net_hdr in front of each packet. */
#ifndef VPN_TUN_H
#define VPN_TUN_H

#include "loop/loop.h"
#include "wire/vpn.h"
#include <skygate/plugin.h>

struct tun;

struct tun_user {
	/* A packet to be sent; its record has been checked. False: no more for now, until tun_resume. */
	bool (*on_packet)(void *arg, const struct sg_vpn_record *r, uint8_t *packet);
	/* Somebody deleted the device. tun_close follows, inside or later. */
	void (*on_gone)(void *arg);
};

/**
 * tun_open - takes the descriptor of @info, on an error too; reading begins with tun_resume. 0, -ENOMEM or a negative
 * errno. Free with tun_close.
 */
int tun_open(struct sg_loop *loop, const struct sg_tun *info, const struct tun_user *user, void *arg, struct tun **out);
/** tun_close - accepts NULL. */
void tun_close(struct tun *t);
void tun_pause(struct tun *t);
void tun_resume(struct tun *t);
/** tun_write - one packet whose record passed sg_vpn_record_check. 0 or a negative errno: the kernel dropped it. */
int tun_write(struct tun *t, const struct sg_vpn_record *r, struct sg_view packet);
/** tun_scratch - SG_VPN_PACKET_MAX bytes for whoever cuts packets on this loop. */
uint8_t *tun_scratch(struct tun *t);
/** tun_odd - packets of the kernel that no record describes; they were dropped. */
uint64_t tun_odd(const struct tun *t);

#endif
