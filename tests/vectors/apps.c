/* apps.json: the VPN's hellos. The other apps wait for their code. */
#include "base/common.h"
#include "base/err.h"
#include "run.h"
#include "wire/vpn.h"

#include <stdlib.h>

/* A server's hello has a status, a client's has not. */
static int hello_again(struct run *r, const struct value *json, char *out, size_t cap)
{
	const struct sg_view in = {(const uint8_t *)json->text, json->len};
	struct sg_vpn_client_hello client;
	struct sg_vpn_server_hello server;
	struct value *parsed = value_parse(json->text, json->len);
	bool from_server = value_get(parsed, "status") != NULL;

	value_free(parsed);
	if (from_server) {
		expect_number(r, "bytes used", in.len, (uint64_t)sg_vpn_server_hello_decode(in, &server));
		return r->failed ? SG_EMALF : sg_vpn_server_hello_encode(&server, out, cap);
	}
	expect_number(r, "bytes used", in.len, (uint64_t)sg_vpn_client_hello_decode(in, &client));
	return r->failed ? SG_EMALF : sg_vpn_client_hello_encode(&client, out, cap);
}

static void vpn_hellos(struct run *r, const struct value *list)
{
	list_begin(r, "hellos");
	for (size_t i = 0; i < list->count; i++) {
		const struct value *item = &list->items[i].value, *json = value_get(item, "json");
		char out[SG_VPN_HELLO_MAX];
		int len;

		case_begin(r, i, value_text(item, "name"));
		expect_true(r, "json", json && json->kind == VALUE_STRING, "text", "nothing");
		len = r->failed ? SG_EMALF : hello_again(r, json, out, sizeof(out));
		expect_outcome(r, "serialise", true, len);
		if (!r->failed)
			expect_hex(r, "hex", value_text(item, "hex"), out, (size_t)len);
		case_end(r);
	}
	list_end(r);
}

static void vpn(struct run *r, const struct value *v)
{
	if (value_list(v, "hellos"))
		vpn_hellos(r, value_list(v, "hellos"));
}

const struct section apps_sections[] = {
	{"vpn", NULL, vpn, NULL},
	{"skysocks", NULL, NULL, NO_CODE},
	{"skychat", NULL, NULL, NO_CODE},
	{"sky_forwarding", NULL, NULL, NO_CODE},
	{"sky_ping", NULL, NULL, NO_CODE},
	{"transport_log", NULL, NULL, NO_CODE},
	{"service_discovery_registration_bodies", NULL, NULL, NO_CODE},
	{"http_auth", NULL, NULL, NO_CODE},
	{"app_process", NULL, NULL, NO_CODE},
	{"visor_rpc", NULL, NULL, NO_CODE},
	{0},
};
