/* The CRC of POSIX cksum, for cksum.c and cksum.cpp; knows of nothing but bytes.
 *
 * The polynomial is x^32 + 0x04C11DB7, most significant bit first, from 0. What a file's CRC is:
 * its bytes, then its length in as few bytes as hold it, least significant first, then all bits
 * inverted.
 *
 * Two ways to the same number: eight table look-ups for eight bytes (about 2 GB/s), and, where an
 * x86 processor multiplies polynomials, folding 64 bytes at a time (about 15 GB/s). A CRC slower
 * than the reads would hide what the reads cost. */
#ifndef POSIX_CRC_H
#define POSIX_CRC_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
    #include <tmmintrin.h>
    #include <wmmintrin.h>
#endif

/* Filled by posix_crc_init, read only afterwards. */
static uint32_t posix_crc_table[8][256];
#if defined(__x86_64__)
static int posix_crc_can_fold;
/* x^192, x^128, x^576 and x^512 modulo the polynomial: what the upper and the lower half of a block
 * are multiplied by to move it 128 and 512 bits on. */
static uint64_t posix_crc_by_128[2], posix_crc_by_512[2];
#endif

/* `crc` times x^bits, modulo the polynomial. */
static inline uint32_t posix_crc_shift(uint32_t crc, unsigned bits)
{
    while (bits-- > 0) {
        crc = crc << 1 ^ (crc & 0x80000000u ? 0x04C11DB7u : 0);
    }
    return crc;
}

/* Call once, before any other function of this file. */
static inline void posix_crc_init(void)
{
    for (unsigned byte = 0; byte < 256; ++byte) {
        for (unsigned behind = 0; behind < 8; ++behind) {
            posix_crc_table[behind][byte] = posix_crc_shift((uint32_t)byte << 24, 8 + 8 * behind);
        }
    }
#if defined(__x86_64__)
    posix_crc_can_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3");
    posix_crc_by_128[0] = posix_crc_shift(1, 192);
    posix_crc_by_128[1] = posix_crc_shift(1, 128);
    posix_crc_by_512[0] = posix_crc_shift(1, 576);
    posix_crc_by_512[1] = posix_crc_shift(1, 512);
#endif
}

static inline uint32_t posix_crc_by_table(uint32_t crc, unsigned char const *p, size_t bytes)
{
    uint32_t const(*const t)[256] = (uint32_t const(*)[256])posix_crc_table;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        crc ^= (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        crc = t[7][crc >> 24] ^ t[6][crc >> 16 & 255] ^ t[5][crc >> 8 & 255] ^ t[4][crc & 255] ^
              t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]];
    }
    for (; bytes > 0; --bytes, ++p) {
        crc = crc << 8 ^ t[0][crc >> 24 ^ *p];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("pclmul,ssse3"))) static inline __m128i
posix_crc_fold_one(__m128i block, __m128i by, __m128i next)
{
    return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(block, by, 0x11),
                                             _mm_clmulepi64_si128(block, by, 0x00)));
}

/* Wants at least 128 bytes. Folding replaces all blocks but the last four by four of the same
 * remainder; the table does the rest. */
__attribute__((target("pclmul,ssse3"))) static inline uint32_t
posix_crc_by_folding(uint32_t crc, unsigned char const *p, size_t bytes)
{
    /* The first byte holds the highest powers, so a block is read back to front. */
    __m128i const turn = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i const by =
        _mm_set_epi64x((long long)posix_crc_by_512[0], (long long)posix_crc_by_512[1]);
    __m128i block[4];
    for (int i = 0; i < 4; ++i) {
        block[i] = _mm_shuffle_epi8(_mm_loadu_si128((__m128i const *)(void const *)p + i), turn);
    }
    block[0] = _mm_xor_si128(block[0], _mm_set_epi32((int)crc, 0, 0, 0));
    for (p += 64, bytes -= 64; bytes >= 64; p += 64, bytes -= 64) {
        for (int i = 0; i < 4; ++i) {
            __m128i const next = _mm_loadu_si128((__m128i const *)(void const *)p + i);
            block[i] = posix_crc_fold_one(block[i], by, _mm_shuffle_epi8(next, turn));
        }
    }
    __m128i const by_one =
        _mm_set_epi64x((long long)posix_crc_by_128[0], (long long)posix_crc_by_128[1]);
    for (int i = 1; i < 4; ++i) {
        block[i] = posix_crc_fold_one(block[i - 1], by_one, block[i]);
    }
    unsigned char left[16];
    _mm_storeu_si128((__m128i *)(void *)left, _mm_shuffle_epi8(block[3], turn));
    return posix_crc_by_table(posix_crc_by_table(0, left, sizeof left), p, bytes);
}
#endif

/* `crc` (0 at first) carried over `bytes` more bytes. */
static inline uint32_t posix_crc_update(uint32_t crc, unsigned char const *p, size_t bytes)
{
#if defined(__x86_64__)
    if (bytes >= 128 && posix_crc_can_fold) {
        return posix_crc_by_folding(crc, p, bytes);
    }
#endif
    return posix_crc_by_table(crc, p, bytes);
}

/* What cksum prints for a file of `bytes` bytes that `crc` was carried over. */
static inline uint32_t posix_crc_finish(uint32_t crc, uint64_t bytes)
{
    for (; bytes > 0; bytes >>= 8) {
        unsigned char const low = (unsigned char)bytes;
        crc = posix_crc_by_table(crc, &low, 1);
    }
    return ~crc;
}

#endif
