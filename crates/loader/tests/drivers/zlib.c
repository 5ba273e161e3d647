/* Round trips of buffers through every way that zlib has of compressing. Argument: a file to write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static unsigned long seed = 12345;
static unsigned char next(void) {
    seed = seed * 6364136223846793005ul + 1442695040888963407ul;
    return (unsigned char)(seed >> 33);
}

static unsigned char *make(int kind, size_t size) {
    static const char words[] = "the quick brown fox jumps over the lazy dog; ";
    unsigned char *buffer = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        switch (kind) {
        case 0: buffer[i] = 0; break;
        case 1: buffer[i] = next(); break;
        case 2: buffer[i] = (unsigned char)words[i % (sizeof words - 1)]; break;
        default: buffer[i] = (unsigned char)(next() % 4 ? 'a' + i / 100 % 26 : next());
        }
    return buffer;
}

static void fail(const char *what, int code) {
    fprintf(stderr, "%s: %d\n", what, code);
    exit(3);
}

/* Through streams, a few bytes at a time. */
static void stream(const unsigned char *buffer, size_t size, int window, int strategy) {
    size_t room = size + size / 100 + 1000, step = size / 7 + 1;
    unsigned char *packed = malloc(room), *unpacked = malloc(size + 1);
    z_stream out = {0}, in = {0};
    int code = deflateInit2(&out, 7, Z_DEFLATED, window, 9, strategy);
    if (code) fail("deflateInit2", code);
    out.next_out = packed; out.avail_out = (uInt)room;
    for (size_t at = 0; at < size; at += step) {
        out.next_in = (unsigned char *)buffer + at;
        out.avail_in = (uInt)(size - at < step ? size - at : step);
        if ((code = deflate(&out, at % 2 ? Z_SYNC_FLUSH : Z_NO_FLUSH)) != Z_OK) fail("deflate", code);
    }
    if ((code = deflate(&out, Z_FINISH)) != Z_STREAM_END) fail("finish", code);
    if ((code = inflateInit2(&in, window)) != Z_OK) fail("inflateInit2", code);
    in.next_out = unpacked; in.avail_out = (uInt)size + 1;
    for (size_t at = 0; code != Z_STREAM_END; at++) {
        if (at >= out.total_out) fail("inflate at the end", code);
        in.next_in = packed + at; in.avail_in = 1;
        code = inflate(&in, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END) fail("inflate", code);
    }
    if (in.total_out != size || memcmp(buffer, unpacked, size)) fail("stream", (int)in.total_out);
    printf("  window %d strategy %d: %lu\n", window, strategy, out.total_out);
    deflateEnd(&out); inflateEnd(&in); free(packed); free(unpacked);
}

int main(int argc, char **argv) {
    static const size_t sizes[] = { 0, 1, 100, 65537, 1000003 };
    if (argc != 2) return 2;
    printf("%s %08lx %08lx\n", zlibVersion(), crc32(0, (const Bytef *)"123456789", 9), adler32(1, (const Bytef *)"123456789", 9));
    gzFile file = gzopen(argv[1], "wb9");
    for (int kind = 0; kind < 4; kind++)
        for (int s = 0; s < 5; s++) {
            size_t size = sizes[s];
            unsigned char *buffer = make(kind, size);
            printf("kind %d size %zu crc %08lx adler %08lx\n", kind, size, crc32(0, buffer, (uInt)size), adler32(1, buffer, (uInt)size));
            for (int level = 0; level <= 9; level += 3) {
                uLongf packed_size = compressBound(size), back = size + 1;
                unsigned char *packed = malloc(packed_size), *unpacked = malloc(size + 1);
                int code = compress2(packed, &packed_size, buffer, size, level);
                if (code) fail("compress2", code);
                if ((code = uncompress(unpacked, &back, packed, packed_size)) != Z_OK) fail("uncompress", code);
                if (back != size || memcmp(buffer, unpacked, size)) fail("round trip", level);
                if (size > 1) {
                    packed[packed_size / 2] ^= 0x55;
                    back = size + 1;
                    code = uncompress(unpacked, &back, packed, packed_size);
                    if (code == Z_OK && !memcmp(buffer, unpacked, size)) fail("damage unseen", level);
                }
                printf("  level %d: %lu\n", level, packed_size);
                free(packed); free(unpacked);
            }
            stream(buffer, size, 15, Z_DEFAULT_STRATEGY);
            stream(buffer, size, -9, Z_FILTERED);
            stream(buffer, size, 31, Z_HUFFMAN_ONLY);
            if (gzwrite(file, buffer, (unsigned)size) != (int)size) fail("gzwrite", (int)size);
            free(buffer);
        }
    int code = gzclose(file);
    if (code) fail("gzclose", code);
    return 0;
}
