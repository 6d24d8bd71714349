#pragma once

// How long a connection in each state lives without a packet.
//
// Units:  microseconds; Unreplied and Replied are UDP's.
// Source: the defaults of Linux's nf_conntrack, so that a move to Sluice cuts nothing.
#define SLUICE_TIMEOUT_US_SynSent 120000000ull
#define SLUICE_TIMEOUT_US_SynReceived 60000000ull
#define SLUICE_TIMEOUT_US_Established 432000000000ull
#define SLUICE_TIMEOUT_US_FinWait 120000000ull
#define SLUICE_TIMEOUT_US_CloseWait 60000000ull
#define SLUICE_TIMEOUT_US_LastAck 30000000ull
#define SLUICE_TIMEOUT_US_TimeWait 120000000ull
#define SLUICE_TIMEOUT_US_Close 10000000ull
#define SLUICE_TIMEOUT_US_SynSent2 120000000ull
#define SLUICE_TIMEOUT_US_Unreplied 30000000ull
#define SLUICE_TIMEOUT_US_Replied 120000000ull
#define SLUICE_TIMEOUT_US_ICMP 30000000ull
#define SLUICE_TIMEOUT_US_Other 600000000ull
