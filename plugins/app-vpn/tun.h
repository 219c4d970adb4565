/* Packets from and to the kernel: a TUN descriptor with a virtio_net_hdr in front of each packet. */
#ifndef VPN_TUN_H
#define VPN_TUN_H

#include "fairq.h"
#include "loop/loop.h"
#include "wire/vpn.h"
#include <skygate/plugin.h>

struct tun;

struct tun_user {
	/* Where a packet joins; its record has been checked, its first FAIRQ_BLOCK bytes lie at @head. NULL drops it. */
	struct fairq_class *(*on_packet)(void *arg, const struct sg_vpn_record *r, const uint8_t *head);
	/* That was all for now: send what waits. */
	void (*on_batch_end)(void *arg);
	/* Somebody deleted the device. tun_close follows, inside or later. */
	void (*on_gone)(void *arg);
};

/**
 * tun_open - takes the descriptor of @info, on an error too; reads into @queue, which is kept, from tun_resume on. 0,
 * -ENOMEM or a negative errno. @dropped, kept, counts packets that the kernel refused, and those that it brought and no
 * record describes. Free with tun_close.
 */
int tun_open(struct sg_loop *loop, const struct sg_tun *info, struct fairq *queue, uint64_t *dropped,
	const struct tun_user *user, void *arg, struct tun **out);
/** tun_close - accepts NULL. */
void tun_close(struct tun *t);
void tun_pause(struct tun *t);
void tun_resume(struct tun *t);
/**
 * tun_write - one packet whose record passed sg_vpn_record_check. Single ones wait for others of their flow, but not
 * over this round of events.
 */
void tun_write(struct tun *t, const struct sg_vpn_record *r, struct sg_view packet);
/** tun_scratch - twice SG_VPN_PACKET_MAX bytes for whoever cuts packets on this loop. */
uint8_t *tun_scratch(struct tun *t);

#endif
