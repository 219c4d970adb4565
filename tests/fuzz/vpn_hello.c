/* Both hellos of the VPN, whole and gathered from pieces of one byte; what was read is written and read again. */
#include "base/common.h"
#include "base/err.h"
#include "fuzz.h"
#include "wire/vpn.h"

static void client(struct sg_view in)
{
	struct sg_vpn_client_hello h, again;
	char out[1024];
	int used = sg_vpn_client_hello_decode(in, &h), len;

	must(used <= (int)in.len && used <= SG_VPN_HELLO_MAX);
	if (used <= 0)
		return;
	must(h.n_ips <= SG_VPN_IPS_MAX && memchr(h.passcode, 0, sizeof(h.passcode)));
	must(!h.null_ips || h.n_ips == 0);
	len = sg_vpn_client_hello_encode(&h, out, sizeof(out));
	must(len == SG_ELONG || (len > 0 && len < 1024));
	if (len < 0)
		return;
	must(sg_vpn_client_hello_decode((struct sg_view){(const uint8_t *)out, (size_t)len}, &again) == len);
	must(again.rec == h.rec && strcmp(again.passcode, h.passcode) == 0);
	/* 0.0.0.0 is written as "", which reads as no address. */
	for (size_t i = 0, j = 0; i < h.n_ips; i++)
		must(!h.ips[i] || again.ips[j++] == h.ips[i]);
}

static void server(struct sg_view in)
{
	struct sg_vpn_server_hello h, again;
	char out[1024];
	int used = sg_vpn_server_hello_decode(in, &h), len;

	must(used <= (int)in.len && used <= SG_VPN_HELLO_MAX);
	if (used <= 0)
		return;
	len = sg_vpn_server_hello_encode(&h, out, sizeof(out));
	must(len > 0);
	must(sg_vpn_server_hello_decode((struct sg_view){(const uint8_t *)out, (size_t)len}, &again) == len);
	must(again.status == h.status && again.tun_ip == h.tun_ip && again.tun_gateway == h.tun_gateway);
	must(again.rec == h.rec);
}

/* The reader finds the same end whether the bytes come at once or one by one. */
static void gather(struct sg_view in)
{
	struct sg_vpn_hello_in whole = {0}, pieces = {0}, record = {0};
	size_t used, n;
	int err = sg_vpn_hello_take(&whole, false, in, &used), one = 0;

	must(used <= in.len && whole.len <= sizeof(whole.b));
	for (n = 0; n < in.len && one == 0; n++) {
		size_t u;

		one = sg_vpn_hello_take(&pieces, false, (struct sg_view){in.p + n, 1}, &u);
	}
	must(one == err);
	must(err != 1 || (pieces.len <= whole.len && memcmp(pieces.b, whole.b, pieces.len) == 0));
	err = sg_vpn_hello_take(&record, true, in, &used);
	must(err != 1 || used == in.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sg_view in = {data, size};

	client(in);
	server(in);
	if (size)
		gather(in);
	return 0;
}
