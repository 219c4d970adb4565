/* vpn.status: what the owner sees. Names and units of the members are what the command line and the UI read. */
#include "base/common.h"
#include "base/hex.h"
#include "client.h"
#include "server.h"

/* Of an exit's clients: what fits one line of the control socket beside the rest of visor.status. */
#define LISTED_MAX 250

static const char *state_word(const struct client *c)
{
	if (c->conf.mode == MODE_OFF)
		return "off";
	if (c->want == SG_WANT_OPEN)
		return "off";
	return c->want == SG_WANT_NOT ? "armed" : c->phase == UP ? "connected" : "blocking";
}

static json_t *link_status(const struct client *c)
{
	struct sg_peer_state p;

	if (sg_pk_is_null(&c->exit_pk) || c->v->host->peer_state(c->v->inst, &c->exit_pk, &p, sizeof(p)) < 0)
		return json_null();
	return json_pack("{s:b,s:s,s:s,s:i,s:I,s:s}", "linked", p.linked, "carrier", p.carrier, "address", p.address,
		"attempts", (int)p.attempts, "next_try_ms", (json_int_t)p.next_try_ms, "why", p.why);
}

int client_status(const struct client *c, json_t *out)
{
	int64_t now = client_now_ms(c),
		wait = c->phase == WAIT && c->conf.n_exits ? SG_MAX(c->next_try_ms - now, 0) : -1;
	const char *proof = c->probe.want_echo ? (c->probe.want_record ? "record and echo" : "echo") : "record";
	char since[32], ip[SG_IP4_TEXT], pk[SG_PK_TEXT];
	bool up = c->phase == UP;
	json_t *members, *up_members = NULL;
	struct tm tm;
	int err;

	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&c->changed_at, &tm));
	members = json_pack("{s:s,s:s,s:b,s:b,s:s,s:I,s:s,s:i,s:I,s:{s:s,s:s},s:o}", "state", state_word(c), "mode",
		c->conf.mode == MODE_VPN    ? "vpn"
		: c->conf.mode == MODE_HOST ? "host"
					    : "off",
		"kill_switch", c->conf.kill_switch, "open", c->want == SG_WANT_OPEN, "since", since, "since_ms",
		(json_int_t)(now - c->changed_ms), "reason", c->why, "attempts", (int)c->attempts, "next_try_ms",
		(json_int_t)wait, "exit", "name", client_exit(c), "pk",
		sg_pk_is_null(&c->exit_pk) ? "" : sg_pk_str(&c->exit_pk, pk), "link", link_status(c));
	if (up)
		up_members = json_pack("{s:s,s:s,s:b,s:s,s:I,s:I,s:s,s:s,s:I,s:I}", "network", c->via.network,
			"carrier", c->via.carrier, "records", c->in.rec, "proof", proof, "rtt_ms",
			(json_int_t)c->probe.rtt_ms, "last_proof_ms", (json_int_t)(now - probe_alive_ms(&c->probe)),
			"device", c->info.name, "lease", sg_ip4_str(c->lease, ip), "up_bytes", (json_int_t)c->up_bytes,
			"down_bytes", (json_int_t)c->down_bytes);
	err = members && (!up || up_members) ? json_object_update(out, members) : -1;
	if (err == 0 && up)
		err = json_object_update(out, up_members);
	json_decref(members);
	json_decref(up_members);
	return err < 0 ? -ENOMEM : 0;
}

json_t *server_status(const struct server *s)
{
	char ip[SG_IP4_TEXT], pool[SG_IP4_TEXT + 4], pk[SG_PK_TEXT];
	json_t *list = json_array(), *out;

	snprintf(pool, sizeof(pool), "%s/%u", sg_ip4_str(s->conf.pool.net, ip), s->conf.pool.bits);
	out = json_pack("{s:b,s:s,s:s,s:s,s:I,s:I,s:b,s:b,s:I,s:I,s:o}", "ready", s->tun != NULL, "why", s->tun_why,
		"device", s->tun_name, "pool", pool, "clients", (json_int_t)s->n_clients, "max_clients",
		(json_int_t)s->conf.max_clients, "open_to_all", s->conf.n_allow == 0 && !s->conf.passcode[0],
		"white_list_open", s->conf.n_allow == 0, "upload_kbit", (json_int_t)s->conf.upload_kbit,
		"download_kbit", (json_int_t)s->conf.download_kbit, "list", list);
	sg_list_for (it, &s->peers) {
		const struct peer *p = sg_container_of(it, struct peer, node);

		if (!out || !p->lease)
			continue;
		if (json_array_size(list) == LISTED_MAX)
			break;
		json_array_append_new(
			list, json_pack("{s:s,s:s,s:s,s:b,s:I,s:I,s:I}", "pk", sg_pk_str(&p->via.remote, pk), "lease",
				      sg_ip4_str(lease_client_ip(p->lease), ip), "carrier", p->via.carrier, "records",
				      p->in.rec, "since_ms", (json_int_t)(server_now_ms(s) - p->since_ms), "up_bytes",
				      (json_int_t)p->up_bytes, "down_bytes", (json_int_t)p->down_bytes));
	}
	return out;
}
