/*
 * What the prober sends and the judge recognises: every probe carries PROBE_MARK and a byte that tells its kind, in
 * each fragment too, so it is known again behind any translation.
 */
#ifndef PROBE_H
#define PROBE_H

#define PROBE_MARK     "SkygateProbe"
#define PROBE_MARK_LEN (sizeof(PROBE_MARK) - 1)
#define PROBE_BASE     'A' /* kind k is the byte PROBE_BASE + k */

/* TCP probes toward the exit's own address start here: no carrier connection has a source port this high. */
#define PROBE_PORT_MIN 61000

#define PROBE_KINDS(X)                                                                                                 \
	X(TCP4, "tcp4") /* SYN with data to the web server */                                                          \
	X(UDP4, "udp4")                                                                                                \
	X(ICMP4, "icmp4")                                                                                              \
	X(TCP6, "tcp6")                                                                                                \
	X(UDP6, "udp6")                                                                                                \
	X(ICMP6, "icmp6")                                                                                              \
	X(DNS4, "dns4") /* a resolver beyond the WAN */                                                                \
	X(DNS6, "dns6")                                                                                                \
	X(QUIC4, "quic4") /* UDP 443 */                                                                                \
	X(QUIC6, "quic6")                                                                                              \
	X(DOT4, "dot4") /* TCP 853 */                                                                                  \
	X(DOT6, "dot6")                                                                                                \
	X(FRAG4, "frag4")                                                                                              \
	X(FRAG6, "frag6")                                                                                              \
	X(MCAST4, "mcast4") /* routable groups */                                                                      \
	X(MCAST6, "mcast6")                                                                                            \
	X(BCAST4, "bcast4")   /* directed broadcast, of the WAN and beyond */                                          \
	X(FORGED4, "forged4") /* sources that are not of the LAN */                                                    \
	X(FORGED6, "forged6")                                                                                          \
	X(EXIT4, "exit4") /* the exit's own address, the carrier's port included */                                    \
	X(EXIT6, "exit6")                                                                                              \
	X(ROUTED4, "routed4") /* loose source routing */                                                               \
	X(PROTO4, "proto4")   /* GRE, ESP, SCTP */

enum probe_kind {
#define X(name, text) PROBE_##name,
	PROBE_KINDS(X)
#undef X
		PROBE_COUNT
};

#endif
