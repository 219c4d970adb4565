/*
 * The handshake machine without sockets: both roles against each other, cut anywhere, and everything that a stranger can
 * say wrong. No test here may move time: the machine knows none.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "link/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* Two machines and their keys. */
struct table {
	struct sg_crypto *crypto;
	struct sg_sk sk[2];
	struct sg_pk pk[2];
	struct link_hs a, b; /* dialler, responder */
};

static int setup(void **state)
{
	struct table *t = calloc(1, sizeof(*t));

	t->crypto = sg_crypto_new(sg_random_system());
	for (int i = 0; i < 2; i++) {
		sg_sk_generate(t->crypto, &t->sk[i]);
		assert_int_equal(sg_pk_of(t->crypto, &t->sk[i], &t->pk[i]), 0);
	}
	link_hs_init(&t->a, &(struct link_hs_conf){.crypto = t->crypto,
				    .sk = &t->sk[0],
				    .pk = &t->pk[0],
				    .type = "stcp",
				    .remote = &t->pk[1],
				    .port = 49153});
	link_hs_init(
		&t->b, &(struct link_hs_conf){.crypto = t->crypto, .sk = &t->sk[1], .pk = &t->pk[1], .type = "stcp"});
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct table *t = *state;

	link_hs_fini(&t->a);
	link_hs_fini(&t->b);
	sg_crypto_free(t->crypto);
	free(t);
	return 0;
}

/* Carries what @from has to say to @to, at most @piece bytes at a time. */
static void carry(struct link_hs *from, struct link_hs *to, size_t piece)
{
	while (link_hs_out(from).len) {
		struct sg_view out = link_hs_out(from);

		out.len = SG_MIN(out.len, piece);
		link_hs_feed(to, out);
		link_hs_sent(from, out.len);
	}
}

/* Both as far as they come by themselves; decisions are made as a manager that agrees would. */
static void talk(struct table *t, size_t piece)
{
	for (int i = 0; i < 8; i++) {
		carry(&t->a, &t->b, piece);
		if (t->b.phase == LINK_HS_DECIDE)
			assert_int_equal(link_hs_answer(&t->b, SG_SETTLE_OK), 0);
		carry(&t->b, &t->a, piece);
		if (t->a.phase == LINK_HS_READY)
			assert_int_equal(link_hs_go(&t->a), 0);
	}
}

/* Until @who is in @phase. */
static void talk_until(struct table *t, const struct link_hs *who, enum link_hs_phase phase)
{
	for (int i = 0; i < 16; i++) {
		if (who->phase == phase)
			return;
		if (link_hs_out(&t->a).len)
			carry(&t->a, &t->b, SIZE_MAX);
		else if (t->a.phase == LINK_HS_READY)
			link_hs_go(&t->a);
		else
			carry(&t->b, &t->a, SIZE_MAX);
	}
	fail_msg("the phase was not reached");
}

static void assert_keys_fit(struct link_hs_result *a, struct link_hs_result *b)
{
	uint8_t slot[SG_FRAME_HEAD + 5 + SG_FRAME_TAG], plain[5];
	size_t got;
	int len;

	memcpy(slot + SG_FRAME_HEAD, (const uint8_t[]){1, 2, 3, 4, 5}, 5);
	len = (int)sg_frame_seal(&a->tx, slot, 5);
	assert_int_equal(sg_frame_open(&b->rx, (struct sg_view){slot, (size_t)len}, plain, &got), len);
	assert_int_equal(got, 5);
	assert_memory_equal(plain, "\1\2\3\4\5", 5);
}

static void finish(struct table *t)
{
	struct link_hs_result a, b;

	assert_int_equal(t->a.phase, LINK_HS_DONE);
	assert_int_equal(t->b.phase, LINK_HS_DONE);
	assert_true(t->b.marked);
	link_hs_take(&t->a, &a);
	link_hs_take(&t->b, &b);
	assert_memory_equal(&a.remote, &t->pk[1], sizeof(a.remote));
	assert_memory_equal(&b.remote, &t->pk[0], sizeof(b.remote));
	assert_keys_fit(&a, &b);
	assert_keys_fit(&b, &a);
	sg_frame_key_fini(&a.tx);
	sg_frame_key_fini(&a.rx);
	sg_frame_key_fini(&b.tx);
	sg_frame_key_fini(&b.rx);
}

static void both_roles_meet(void **state)
{
	talk(*state, SIZE_MAX);
	finish(*state);
}

static void any_cut_is_survived(void **state)
{
	static const size_t pieces[] = {1, 2, 3, 7, 50, 51, 52, 500};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(pieces); i++) {
		void *own;

		setup(&own);
		talk(own, pieces[i]);
		finish(own);
		teardown(&own);
	}
}

static void each_message_waits_for_the_answer_to_the_one_before(void **state)
{
	struct table *t = *state;

	assert_int_equal(link_hs_out(&t->a).len, SG_STCP_F0_LEN);
	carry(&t->a, &t->b, SIZE_MAX);
	assert_int_equal(link_hs_out(&t->a).len, 0);
	carry(&t->b, &t->a, SIZE_MAX);
	assert_in_range(link_hs_out(&t->a).len, 400, 430);
	carry(&t->a, &t->b, SIZE_MAX);
	assert_int_equal(link_hs_out(&t->b).len, strlen("{\"OK\":true,\"ErrMsg\":\"\"}\n"));
	carry(&t->b, &t->a, SIZE_MAX);
	assert_int_equal(t->a.phase, LINK_HS_READY);
	assert_int_equal(link_hs_out(&t->a).len, 0); /* nothing of Noise before link_hs_go */
	assert_int_equal(link_hs_go(&t->a), 0);
	assert_int_equal(link_hs_out(&t->a).len, 51);
	assert_int_equal(link_hs_go(&t->a), SG_ESTATE);
}

static void the_newline_of_a_frame_may_come_late(void **state)
{
	struct table *t = *state;
	struct sg_view out;

	carry(&t->a, &t->b, SIZE_MAX);
	out = link_hs_out(&t->b);
	assert_int_equal(out.p[out.len - 1], '\n');
	assert_int_equal(link_hs_feed(&t->a, (struct sg_view){out.p, out.len - 1}), 0);
	link_hs_sent(&t->b, out.len);
	assert_true(link_hs_out(&t->a).len > 0); /* f2 is ready without it */
	assert_int_equal(link_hs_feed(&t->a, (struct sg_view){(const uint8_t *)"\n", 1}), 0);
	talk(t, SIZE_MAX);
	finish(t);
}

static void bytes_behind_the_answer_are_kept(void **state)
{
	struct table *t = *state;
	struct link_hs_result res;
	uint8_t more[] = "behind";

	talk_until(t, &t->b, LINK_HS_DECIDE);
	link_hs_answer(&t->b, SG_SETTLE_OK);
	carry(&t->b, &t->a, SIZE_MAX);
	assert_int_equal(t->a.phase, LINK_HS_DONE);
	assert_int_equal(link_hs_feed(&t->a, (struct sg_view){more, sizeof(more)}), 0);
	link_hs_take(&t->a, &res);
	assert_int_equal(res.raw.len, sizeof(more));
	assert_memory_equal(res.raw.p, more, sizeof(more));
	sg_frame_key_fini(&res.tx);
	sg_frame_key_fini(&res.rx);
}

/* ---- what may go wrong at the responder ---- */

static void assert_refused(struct link_hs *hs, int err, const char *why)
{
	assert_int_equal(hs->phase, LINK_HS_FAILED);
	assert_int_equal(hs->err, err);
	assert_non_null(strstr(hs->why, why));
	/* It stays refused, whatever comes. */
	assert_int_equal(link_hs_feed(hs, (struct sg_view){(const uint8_t *)"{}", 2}), err);
	assert_int_equal(link_hs_eof(hs), err);
}

static void another_protocol_is_refused_at_its_first_byte(void **state)
{
	struct table *t = *state;

	assert_int_equal(link_hs_feed(&t->b, (struct sg_view){(const uint8_t *)"G", 1}), SG_EMALF);
	assert_refused(&t->b, SG_EMALF, "it does not speak the stcp handshake");
	assert_int_equal(link_hs_out(&t->b).len, 0);
}

/* An f2 of node 0, changed by the test before or after it is signed. */
struct f2_case {
	const char *name;
	bool wrong_nonce, wrong_sig, null_src;
	uint16_t port;
	int err;
	const char *answer;
};

static void f2_is_judged_as_the_table_says(void **state)
{
	static const struct f2_case cases[] = {
		{"nonce", true, false, false, 45, SG_ESIG, ""},
		{"signature", false, true, false, 45, SG_ESIG, ""},
		{"null key", false, false, true, 45, SG_ESIG, ""},
		{"port", false, false, false, 46, SG_EREFUSED,
			"{\"OK\":false,\"ErrMsg\":\"not listening on given port\"}\n"},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++) {
		const struct f2_case *c = &cases[i];
		struct sg_stcp_f2 f2 = {.src_port = 49153, .dst_port = c->port};
		char line[SG_STCP_LINE_MAX];
		struct table *t;
		void *own;
		int len;

		setup(&own);
		t = own;
		carry(&t->a, &t->b, SIZE_MAX);
		f2.src = t->pk[0];
		f2.dst = t->pk[1];
		if (c->null_src)
			memset(&f2.src, 0, sizeof(f2.src));
		memcpy(f2.nonce, t->b.nonce, sizeof(f2.nonce));
		f2.nonce[15] ^= c->wrong_nonce;
		len = sg_stcp_f2_encode(t->crypto, &t->sk[0], NULL, &f2, line, sizeof(line));
		if (c->wrong_sig)
			line[len - 10] = line[len - 10] == '0' ? '1' : '0';
		link_hs_sent(&t->b, link_hs_out(&t->b).len);
		assert_int_equal(link_hs_feed(&t->b, (struct sg_view){(uint8_t *)line, (size_t)len}), c->err);
		assert_int_equal(link_hs_out(&t->b).len, strlen(c->answer));
		assert_memory_equal(link_hs_out(&t->b).p, c->answer, strlen(c->answer));
		teardown(&own);
	}
}

static void an_endless_frame_is_refused(void **state)
{
	struct table *t = *state;
	int ret = 0;
	size_t fed = 0;

	carry(&t->a, &t->b, SIZE_MAX);
	link_hs_feed(&t->b, (struct sg_view){(const uint8_t *)"{\"Sig\":\"", 8});
	for (; fed < 100000 && ret == 0; fed++)
		ret = link_hs_feed(&t->b, (struct sg_view){(const uint8_t *)"0", 1});
	assert_int_equal(ret, SG_ELONG);
	assert_true(fed < SG_STCP_LINE_MAX + 16);
}

static void a_dialler_meets_another_key(void **state)
{
	struct table *t = *state;
	struct sg_pk other;
	struct sg_sk sk;

	/* It dials a key that is not the responder's. */
	sg_sk_generate(t->crypto, &sk);
	assert_int_equal(sg_pk_of(t->crypto, &sk, &other), 0);
	link_hs_fini(&t->a);
	link_hs_init(&t->a, &(struct link_hs_conf){.crypto = t->crypto,
				    .sk = &t->sk[0],
				    .pk = &t->pk[0],
				    .type = "stcp",
				    .remote = &other,
				    .port = 49153});
	talk(t, SIZE_MAX);
	assert_refused(&t->b, SG_EAUTH, "its Noise message was refused");
	assert_int_equal(t->a.phase, LINK_HS_NOISE);
	assert_int_equal(link_hs_eof(&t->a), SG_EKEYMISMATCH);
	assert_refused(&t->a, SG_EKEYMISMATCH, "the other end has a different key than configured (expected ");
}

static void noise_messages_are_checked(void **state)
{
	static const size_t lens[] = {0, 1, 48, 49, 50, 1233};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(lens); i++) {
		uint8_t msg[2 + 1233] = {0};
		struct table *t;
		void *own;

		setup(&own);
		t = own;
		talk_until(t, &t->a, LINK_HS_READY);
		sg_put_u16(msg, (uint16_t)lens[i]);
		memset(msg + 2, 2, lens[i]); /* 02 02 02 …: an X that is no point, or no tag */
		assert_true(link_hs_feed(&t->b, (struct sg_view){msg, 2 + lens[i]}) < 0);
		assert_int_equal(t->b.phase, LINK_HS_FAILED);
		assert_int_equal(link_hs_out(&t->b).len, 0);
		teardown(&own);
	}
}

/* ---- settlement ---- */

/* Sends a line of settlement from the dialler's side, sealed with its key. */
static int settle_with(struct table *t, const char *line, size_t len)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];

	memcpy(slot + SG_FRAME_HEAD, line, len);
	t->a.out_off = t->a.out_len = 0; /* its own entry is not sent */
	t->a.tx.counter = 0;
	return link_hs_feed(&t->b, (struct sg_view){slot, sg_frame_seal(&t->a.tx, slot, len)});
}

enum lie { LIE_NONE, LIE_TYPE, LIE_EDGES, LIE_ID, LIE_SIG, LIE_SLOT, LIE_JSON };

static int lie_about(struct table *t, enum lie lie)
{
	struct sg_signed_entry e = {0};
	char line[SG_SETTLE_LINE_MAX];
	struct sg_sk other;
	struct sg_pk pk;
	int len;

	sg_sk_generate(t->crypto, &other);
	assert_int_equal(sg_pk_of(t->crypto, &other, &pk), 0);
	sg_entry_make(&t->pk[0], lie == LIE_EDGES ? &pk : &t->pk[1], lie == LIE_TYPE ? "stcpr" : "stcp", &e.entry);
	e.entry.id.b[3] ^= lie == LIE_ID;
	assert_int_equal(sg_entry_sign(t->crypto, &t->sk[0], NULL, &e), 0);
	if (lie == LIE_SIG) {
		e.sigs[0].b[5] ^= 1;
		e.sigs[1].b[5] ^= 1;
	}
	if (lie == LIE_SLOT) {
		struct sg_sig s = e.sigs[0];

		e.sigs[0] = e.sigs[1];
		e.sigs[1] = s;
	}
	len = sg_settle_encode(&e, true, line, sizeof(line));
	if (lie == LIE_JSON)
		line[len / 2] = '{';
	return settle_with(t, line, (size_t)len);
}

static int answer_read(struct table *t)
{
	struct sg_view out = link_hs_out(&t->b);
	uint8_t plain[SG_FRAME_PLAIN_MAX];
	size_t got;

	assert_int_equal(sg_frame_open(&t->a.rx, out, plain, &got), (int)out.len);
	assert_int_equal(got, 1);
	return plain[0];
}

static void entries_are_checked(void **state)
{
	static const int errs[] = {0, SG_EMALF, SG_EMALF, SG_EMALF, SG_ESIG, SG_ESIG, SG_EMALF};

	(void)state;
	for (int lie = LIE_NONE; lie <= LIE_JSON; lie++) {
		struct table *t;
		void *own;

		setup(&own);
		t = own;
		talk_until(t, &t->a, LINK_HS_SETTLE);
		assert_int_equal(lie_about(t, (enum lie)lie), errs[lie]);
		if (lie == LIE_NONE) {
			assert_int_equal(t->b.phase, LINK_HS_DECIDE);
			assert_false(t->b.marked);
			assert_int_equal(link_hs_answer(&t->b, SG_SETTLE_FAIL), SG_EREFUSED);
			assert_int_equal(answer_read(t), SG_SETTLE_FAIL);
		} else {
			assert_int_equal(t->b.phase, LINK_HS_FAILED);
			assert_int_equal(answer_read(t), SG_SETTLE_INVALID);
		}
		teardown(&own);
	}
}

static void an_endless_entry_is_refused(void **state)
{
	struct table *t = *state;
	char line[4000];

	memset(line, ' ', sizeof(line));
	line[0] = '{';
	talk_until(t, &t->a, LINK_HS_SETTLE);
	assert_int_equal(settle_with(t, line, sizeof(line)), SG_ELONG);
	assert_int_equal(answer_read(t), SG_SETTLE_INVALID);
}

static void every_answer_but_ok_ends_the_dial_with_its_meaning(void **state)
{
	static const char *const whys[] = {
		"it refuses the transport", NULL, "it could not sign", "entry is invalid", "unknown"};

	(void)state;
	for (size_t answer = 0; answer < SG_ARRAY_LEN(whys); answer++) {
		uint8_t slot[SG_FRAME_HEAD + 1 + SG_FRAME_TAG];
		struct table *t;
		void *own;

		if (answer == SG_SETTLE_OK)
			continue;
		setup(&own);
		t = own;
		talk_until(t, &t->b, LINK_HS_DECIDE);
		slot[SG_FRAME_HEAD] = (uint8_t)answer;
		link_hs_feed(&t->a, (struct sg_view){slot, sg_frame_seal(&t->b.tx, slot, 1)});
		assert_refused(&t->a, SG_EREFUSED, whys[answer]);
		teardown(&own);
	}
}

static void a_refusal_is_printable(void **state)
{
	struct table *t = *state;
	const char *f3 = "{\"OK\":false,\"ErrMsg\":\"\\u001b[2J\\n<b>\"}\n";

	carry(&t->a, &t->b, SIZE_MAX);
	carry(&t->b, &t->a, SIZE_MAX);
	assert_int_equal(link_hs_feed(&t->a, (struct sg_view){(const uint8_t *)f3, strlen(f3)}), SG_EREFUSED);
	assert_string_equal(t->a.why, "it refuses our connection: ?[2J?<b>");
}

static void leaving_early_is_named_by_phase(void **state)
{
	struct table *t = *state;

	talk_until(t, &t->b, LINK_HS_SETTLE);
	assert_int_equal(link_hs_eof(&t->b), SG_ECLOSED);
	assert_string_equal(t->b.why, "it left before the transport was settled");
	assert_int_equal(t->a.phase, LINK_HS_NOISE);
}

/* ---- over a stream that its carrier secured ---- */

static void secured(struct table *t, const struct sg_pk *caller)
{
	link_hs_fini(&t->a);
	link_hs_fini(&t->b);
	link_hs_init(&t->a, &(struct link_hs_conf){.crypto = t->crypto,
				    .sk = &t->sk[0],
				    .pk = &t->pk[0],
				    .type = "dmsg",
				    .remote = &t->pk[1],
				    .secured = true});
	link_hs_init(&t->b, &(struct link_hs_conf){.crypto = t->crypto,
				    .sk = &t->sk[1],
				    .pk = &t->pk[1],
				    .type = "dmsg",
				    .secured = true,
				    .caller = caller});
}

static void a_secured_stream_carries_the_settlement_alone(void **state)
{
	struct table *t = *state;

	for (size_t piece = 1; piece <= 4096; piece = piece * 3 + 1) {
		struct link_hs_result a, b;
		struct sg_view line;

		secured(t, &t->pk[0]);
		line = link_hs_out(&t->a);
		assert_memory_equal(line.p, "{\"entry\":{\"t_id\":\"", 18);
		assert_int_equal(line.p[line.len - 1], '\n');
		assert_int_equal(link_hs_out(&t->b).len, 0);
		carry(&t->a, &t->b, piece);
		assert_int_equal(t->b.phase, LINK_HS_DECIDE);
		assert_true(t->b.marked);
		assert_int_equal(link_hs_answer(&t->b, SG_SETTLE_OK), 0);
		assert_int_equal(link_hs_out(&t->b).len, 1);
		assert_int_equal(link_hs_out(&t->b).p[0], 1);
		/* The answer, and the first packets in the same read. */
		link_hs_feed(&t->a, (struct sg_view){(const uint8_t *)"\1packets", 8});
		assert_int_equal(t->a.phase, LINK_HS_DONE);
		link_hs_take(&t->a, &a);
		link_hs_take(&t->b, &b);
		assert_memory_equal(&a.remote, &t->pk[1], sizeof(a.remote));
		assert_memory_equal(&b.remote, &t->pk[0], sizeof(b.remote));
		assert_int_equal(a.plain.len + a.raw.len, 7);
		assert_memory_equal(a.plain.p, "packets", 7);
		assert_int_equal(b.plain.len + b.raw.len, 0);
	}
}

static void a_secured_stream_is_judged_by_its_own_key(void **state)
{
	static uint8_t zeros[SG_SETTLE_LINE_MAX], spaces[SG_SETTLE_LINE_MAX];
	struct table *t = *state;

	/* An entry of somebody else than the stream proved. */
	secured(t, &t->pk[1]);
	carry(&t->a, &t->b, SIZE_MAX);
	assert_int_equal(t->b.phase, LINK_HS_FAILED);
	assert_int_equal(link_hs_out(&t->b).p[0], SG_SETTLE_INVALID);
	secured(t, &t->pk[0]);
	link_hs_feed(&t->b, (struct sg_view){zeros, sizeof(zeros)});
	assert_int_equal(t->b.phase, LINK_HS_FAILED);
	/* One that never begins. */
	secured(t, &t->pk[0]);
	memset(spaces, ' ', sizeof(spaces));
	link_hs_feed(&t->b, (struct sg_view){spaces, sizeof(spaces)});
	assert_int_equal(t->b.phase, LINK_HS_FAILED);
	for (uint8_t answer = 0; answer < 6; answer++) {
		secured(t, &t->pk[0]);
		link_hs_feed(&t->a, (struct sg_view){&answer, 1});
		assert_int_equal(t->a.phase, answer == SG_SETTLE_OK ? LINK_HS_DONE : LINK_HS_FAILED);
	}
	secured(t, &t->pk[0]);
	assert_int_equal(link_hs_eof(&t->a), SG_ECLOSED);
	assert_string_equal(t->a.why, "it left before the transport was settled");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(both_roles_meet),
		cmocka_unit_test(any_cut_is_survived),
		TEST(a_secured_stream_carries_the_settlement_alone),
		TEST(a_secured_stream_is_judged_by_its_own_key),
		TEST(each_message_waits_for_the_answer_to_the_one_before),
		TEST(the_newline_of_a_frame_may_come_late),
		TEST(bytes_behind_the_answer_are_kept),
		TEST(another_protocol_is_refused_at_its_first_byte),
		cmocka_unit_test(f2_is_judged_as_the_table_says),
		TEST(an_endless_frame_is_refused),
		TEST(a_dialler_meets_another_key),
		cmocka_unit_test(noise_messages_are_checked),
		cmocka_unit_test(entries_are_checked),
		TEST(an_endless_entry_is_refused),
		cmocka_unit_test(every_answer_but_ok_ends_the_dial_with_its_meaning),
		TEST(a_refusal_is_printable),
		TEST(leaving_early_is_named_by_phase),
	};

	return cmocka_run_group_tests_name("link/handshake", tests, NULL, NULL);
}
