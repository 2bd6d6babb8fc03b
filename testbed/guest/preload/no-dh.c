// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For nbd-server. It makes Diffie-Hellman parameters before it takes its first connection (3.24,
 * nbd-server.c), though none of ours asks for TLS, and already listens meanwhile: a search for a large
 * prime, of 1 to 40 s where the processor is emulated, and of another length each time.
 */
int gnutls_dh_params_generate2(void *params, unsigned int bits);

int gnutls_dh_params_generate2(void *params, unsigned int bits)
{
	(void)params, (void)bits;
	return 0;
}
