/* Stream requests and responses of dmsg. */
#include "wire/dmsg.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "wire/gob.h"

/* ---- writing: types in the order of the existing implementation ---- */

static void write_addr(struct sg_writer *w, const struct sg_dmsg_addr *a)
{
	static const uint8_t null[SG_PK_LEN];
	unsigned last = 0;

	if (memcmp(a->pk.b, null, SG_PK_LEN) != 0) {
		sg_gob_write_field(w, &last, 1);
		sg_gob_write_bytes(w, a->pk.b, SG_PK_LEN);
	}
	if (a->port) {
		sg_gob_write_field(w, &last, 2);
		sg_gob_write_uint(w, a->port);
	}
	sg_gob_write_uint(w, 0);
}

int sg_dmsg_request_encode(const struct sg_dmsg_request *q, int64_t base, uint8_t *out, size_t cap)
{
	const struct sg_gob_field_def request[] = {{"Timestamp", SG_GOB_INT}, {"SrcAddr", base + 1},
		{"DstAddr", base + 1}, {"IPinfo", SG_GOB_BOOL}, {"NoiseMsg", SG_GOB_BYTES}};
	const struct sg_gob_field_def addr[] = {{"PK", base + 2}, {"Port", SG_GOB_UINT}};
	struct sg_writer w = sg_writer(out, cap);
	struct sg_gob_out o;
	unsigned last = 0;

	sg_gob_define_struct(&w, base, "StreamRequest", request, SG_ARRAY_LEN(request));
	sg_gob_define_struct(&w, base + 1, "Addr", addr, SG_ARRAY_LEN(addr));
	sg_gob_define_opaque(&w, base + 2, "PubKey");
	o = sg_gob_begin(&w, base);
	if (q->timestamp) {
		sg_gob_write_field(&w, &last, 1);
		sg_gob_write_int(&w, q->timestamp);
	}
	/* Structs inside are always sent. */
	sg_gob_write_field(&w, &last, 2);
	write_addr(&w, &q->src);
	sg_gob_write_field(&w, &last, 3);
	write_addr(&w, &q->dst);
	if (q->ip_info) {
		sg_gob_write_field(&w, &last, 4);
		sg_gob_write_uint(&w, 1);
	}
	if (q->noise.len) {
		sg_gob_write_field(&w, &last, 5);
		sg_gob_write_bytes(&w, q->noise.p, q->noise.len);
	}
	sg_gob_write_uint(&w, 0);
	sg_gob_end(&o);
	return w.err ? SG_ELONG : (int)sg_writer_len(&w);
}

int sg_dmsg_response_encode(const struct sg_dmsg_response *a, int64_t base, uint8_t *out, size_t cap)
{
	const struct sg_gob_field_def response[] = {{"ReqHash", base + 1}, {"Accepted", SG_GOB_BOOL},
		{"IP", SG_GOB_BYTES}, {"ErrCode", SG_GOB_UINT}, {"NoiseMsg", SG_GOB_BYTES}};
	struct sg_writer w = sg_writer(out, cap);
	struct sg_gob_out o;
	unsigned last = 0;

	sg_gob_define_struct(&w, base, "StreamResponse", response, SG_ARRAY_LEN(response));
	sg_gob_define_array(&w, base + 1, "SHA256", SG_GOB_UINT, sizeof(a->req_hash));
	o = sg_gob_begin(&w, base);
	sg_gob_write_field(&w, &last, 1);
	sg_gob_write_uint(&w, sizeof(a->req_hash));
	for (size_t i = 0; i < sizeof(a->req_hash); i++)
		sg_gob_write_uint(&w, a->req_hash[i]);
	if (a->accepted) {
		sg_gob_write_field(&w, &last, 2);
		sg_gob_write_uint(&w, 1);
	}
	if (a->ip.len) {
		sg_gob_write_field(&w, &last, 3);
		sg_gob_write_bytes(&w, a->ip.p, a->ip.len);
	}
	if (a->err_code) {
		sg_gob_write_field(&w, &last, 4);
		sg_gob_write_uint(&w, a->err_code);
	}
	if (a->noise.len) {
		sg_gob_write_field(&w, &last, 5);
		sg_gob_write_bytes(&w, a->noise.p, a->noise.len);
	}
	sg_gob_write_uint(&w, 0);
	sg_gob_end(&o);
	return w.err ? SG_ELONG : (int)sg_writer_len(&w);
}

/* ---- reading ---- */

static int read_pk(const struct sg_crypto *c, const struct sg_gob_value *v, struct sg_pk *out)
{
	struct sg_view b = sg_gob_bytes(v, SG_GOB_OPAQUE);

	if (b.len != SG_PK_LEN)
		return SG_EKEY;
	memcpy(out->b, b.p, SG_PK_LEN);
	return sg_pk_check(c, out);
}

static int read_addr(const struct sg_crypto *c, const struct sg_gob_value *v, struct sg_dmsg_addr *out)
{
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;
	int err = 0;

	while (err == 0 && sg_gob_field_next(v, &state, &name, &f)) {
		if (strcmp(name, "PK") == 0)
			err = read_pk(c, &f, &out->pk);
		else if (strcmp(name, "Port") == 0)
			out->port = (uint16_t)sg_gob_uint(&f, UINT16_MAX);
		else
			sg_gob_skip(&f);
	}
	return err;
}

static int read_request(const struct sg_crypto *c, const struct sg_gob_value *v, struct sg_dmsg_request *out)
{
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;
	int err = 0;

	while (err == 0 && sg_gob_field_next(v, &state, &name, &f)) {
		if (strcmp(name, "Timestamp") == 0)
			out->timestamp = sg_gob_int(&f);
		else if (strcmp(name, "SrcAddr") == 0)
			err = read_addr(c, &f, &out->src);
		else if (strcmp(name, "DstAddr") == 0)
			err = read_addr(c, &f, &out->dst);
		else if (strcmp(name, "IPinfo") == 0)
			out->ip_info = sg_gob_bool(&f);
		else if (strcmp(name, "NoiseMsg") == 0)
			out->noise = sg_gob_bytes(&f, SG_GOB_BYTES);
		else
			sg_gob_skip(&f);
	}
	return err;
}

static void read_hash(const struct sg_gob_value *v, uint8_t out[32])
{
	struct sg_gob_value elem;
	size_t n = sg_gob_list(v, &elem);

	if (n != 32)
		v->r->err = true;
	for (size_t i = 0; i < n && !v->r->err; i++)
		out[i] = (uint8_t)sg_gob_uint(&elem, UINT8_MAX);
}

static void read_response(const struct sg_gob_value *v, struct sg_dmsg_response *out)
{
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;

	while (sg_gob_field_next(v, &state, &name, &f)) {
		if (strcmp(name, "ReqHash") == 0)
			read_hash(&f, out->req_hash);
		else if (strcmp(name, "Accepted") == 0)
			out->accepted = sg_gob_bool(&f);
		else if (strcmp(name, "IP") == 0)
			out->ip = sg_gob_bytes(&f, SG_GOB_BYTES);
		else if (strcmp(name, "ErrCode") == 0)
			out->err_code = (uint16_t)sg_gob_uint(&f, UINT16_MAX);
		else if (strcmp(name, "NoiseMsg") == 0)
			out->noise = sg_gob_bytes(&f, SG_GOB_BYTES);
		else
			sg_gob_skip(&f);
	}
}

/* A struct none of whose fields has one of @names is another type: the existing implementation refuses it. */
static bool knows(const struct sg_gob_value *v, const char *const *names, size_t n)
{
	bool known = false;

	for (size_t i = 0; i < n; i++)
		known = known || sg_gob_has_field(v, names[i]);
	return known;
}

/* The first value of the stream, a struct of ours; bytes behind it are the sender's business. 0, or an error. */
static int first_value(struct sg_gob_types *types, struct sg_view in, const char *const *names, size_t n,
	struct sg_reader *r, struct sg_gob_value *out)
{
	int ret = 0;

	while (ret == 0) {
		struct sg_view message;
		int used = sg_gob_frame(in, &message);

		if (used <= 0)
			return used < 0 ? used : SG_EMALF;
		in.p += used;
		in.len -= (size_t)used;
		ret = sg_gob_message(types, message, r, out);
	}
	if (ret < 0)
		return ret;
	return knows(out, names, n) ? 0 : SG_EMALF;
}

int sg_dmsg_request_decode(const struct sg_crypto *c, struct sg_view gob, struct sg_dmsg_request *out)
{
	static const char *const names[] = {"Timestamp", "SrcAddr", "DstAddr", "IPinfo", "NoiseMsg"};
	struct sg_gob_types types;
	struct sg_gob_value v;
	struct sg_reader r;
	int err;

	memset(out, 0, sizeof(*out));
	sg_gob_types_init(&types);
	err = first_value(&types, gob, names, SG_ARRAY_LEN(names), &r, &v);
	if (err == 0)
		err = read_request(c, &v, out);
	if (err == 0 && !sg_reader_done(&r))
		err = SG_EMALF;
	sg_gob_types_fini(&types);
	return err;
}

int sg_dmsg_response_decode(struct sg_view gob, struct sg_dmsg_response *out)
{
	static const char *const names[] = {"ReqHash", "Accepted", "IP", "ErrCode", "NoiseMsg"};
	struct sg_gob_types types;
	struct sg_gob_value v;
	struct sg_reader r;
	int err;

	memset(out, 0, sizeof(*out));
	sg_gob_types_init(&types);
	err = first_value(&types, gob, names, SG_ARRAY_LEN(names), &r, &v);
	if (err == 0)
		read_response(&v, out);
	if (err == 0 && !sg_reader_done(&r))
		err = SG_EMALF;
	sg_gob_types_fini(&types);
	return err;
}

/* ---- signed objects ---- */

int sg_dmsg_object_sign(const struct sg_crypto *c, const struct sg_sk *sk, struct sg_view gob, uint8_t *out, size_t cap)
{
	struct sg_sig sig;
	int err;

	if (cap < SG_SIG_LEN || gob.len > cap - SG_SIG_LEN)
		return SG_ELONG;
	err = sg_sign(c, sk, gob, NULL, &sig);
	if (err < 0)
		return err;
	memmove(out + SG_SIG_LEN, gob.p, gob.len);
	memcpy(out, sig.b, SG_SIG_LEN);
	return (int)(SG_SIG_LEN + gob.len);
}

int sg_dmsg_object_split(struct sg_view object, struct sg_sig *sig, struct sg_view *gob)
{
	if (object.len <= SG_SIG_LEN)
		return SG_EMALF;
	memcpy(sig->b, object.p, SG_SIG_LEN);
	*gob = (struct sg_view){object.p + SG_SIG_LEN, object.len - SG_SIG_LEN};
	return 0;
}

int sg_dmsg_object_verify(const struct sg_crypto *c, const struct sg_pk *pk, struct sg_view object)
{
	struct sg_view gob;
	struct sg_sig sig;
	int err = sg_dmsg_object_split(object, &sig, &gob);

	return err < 0 ? err : sg_verify(c, pk, gob, &sig);
}
