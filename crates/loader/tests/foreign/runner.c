/* Puts an image that a test has linked and bound at its address, and calls a function of it.
 *
 *     runner DUMP
 *
 * The dump begins with sixteen figures, in the order of `struct dump`; payload and data follow. Prints what
 * the function returned. Statically linked and at a fixed address, so that the test finds the addresses of
 * everything in here, and in the C and C++ libraries, in the symbol table. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <pthread.h>

struct dump {
    uint64_t base, payload_size, data_size, unwind, unwind_size, init, init_count, fini, fini_count;
    uint64_t template, template_size, thread_size, indirect, indirect_count, entry, argument;
};

static struct dump dump;

/* What the cases refer to. */
int outside_data = 42;
__thread int outside_local[2] = {42, 43};
static __thread char *block;

static char *own_block(void)
{
    if (!block) {
        block = aligned_alloc(4096, (dump.thread_size + 4095) / 4096 * 4096);
        memset(block, 0, dump.thread_size);
        memcpy(block, (void *)dump.template, dump.template_size);
    }
    return block;
}

/* Module 1 is the image, module 2 this program, whose block begins at the thread pointer. */
void *runner_get_address(uint64_t *pair)
{
    char *start = pair[0] == 1 ? own_block() : (char *)__builtin_thread_pointer();
    return start + pair[1];
}

uint64_t runner_distance(uint64_t *descriptor)
{
    return (uint64_t)runner_get_address((uint64_t *)descriptor[1]) - (uint64_t)__builtin_thread_pointer();
}

/* Called with the descriptor in x0; everything but x0 has to be as it was. */
__asm__(".globl runner_descriptor\n"
        "runner_descriptor:\n"
        "stp x29, x30, [sp, #-256]!\n"
        "stp x1, x2, [sp, #16]\n stp x3, x4, [sp, #32]\n stp x5, x6, [sp, #48]\n"
        "stp x7, x8, [sp, #64]\n stp x9, x10, [sp, #80]\n stp x11, x12, [sp, #96]\n"
        "stp x13, x14, [sp, #112]\n stp x15, x16, [sp, #128]\n stp x17, x18, [sp, #144]\n"
        "stp q0, q1, [sp, #160]\n stp q2, q3, [sp, #192]\n stp q4, q5, [sp, #224]\n"
        "bl runner_distance\n"
        "ldp x1, x2, [sp, #16]\n ldp x3, x4, [sp, #32]\n ldp x5, x6, [sp, #48]\n"
        "ldp x7, x8, [sp, #64]\n ldp x9, x10, [sp, #80]\n ldp x11, x12, [sp, #96]\n"
        "ldp x13, x14, [sp, #112]\n ldp x15, x16, [sp, #128]\n ldp x17, x18, [sp, #144]\n"
        "ldp q0, q1, [sp, #160]\n ldp q2, q3, [sp, #192]\n ldp q4, q5, [sp, #224]\n"
        "ldp x29, x30, [sp], #256\n ret\n");

/* The function in Mach-O's descriptors: the same, with the pair behind the first word. Returns an address. */
__asm__(".globl runner_variable\n"
        "runner_variable:\n"
        "stp x29, x30, [sp, #-32]!\n add x16, x0, #8\n stp xzr, x16, [sp, #16]\n add x0, sp, #16\n"
        "bl runner_descriptor\n"
        "mrs x16, tpidr_el0\n add x0, x0, x16\n ldp x29, x30, [sp], #32\n ret\n");

/* Runs a function of the image in a thread of its own. */
static void *in_thread(void *function)
{
    return (void *)(long)((int (*)(int))function)(0);
}

int outside_thread(void *function)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, 0, in_thread, function);
    pthread_join(thread, &result);
    return (int)(long)result;
}

int outside_function(int n)
{
    return n + 1;
}

/* `strlen` itself is an indirect function here, whose symbol is not what is called. */
unsigned long outside_length(const char *text)
{
    return strlen(text);
}

extern void __register_frame(void *);

static void *map(uint64_t at, uint64_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    void *got = mmap((void *)at, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (got != (void *)at) {
        perror("mmap");
        exit(2);
    }
    return got;
}

int main(int count, char **arguments)
{
    FILE *file = count > 1 ? fopen(arguments[1], "rb") : 0;
    if (!file || fread(&dump, sizeof dump, 1, file) != 1)
        return 2;
    uint64_t code_size = (dump.payload_size + 4095) & ~4095ul;
    char *code = map(dump.base, code_size);
    if (fread(code, 1, dump.payload_size, file) != dump.payload_size)
        return 2;
    if (dump.data_size) {
        char *data = map(dump.base + (1 << 28), (dump.data_size + 4095) & ~4095ul);
        if (fread(data, 1, dump.data_size, file) != dump.data_size)
            return 2;
    }
    mprotect(code, code_size, PROT_READ | PROT_EXEC);
    __builtin___clear_cache(code, code + code_size);
    if (dump.unwind_size)
        __register_frame((void *)dump.unwind);
    for (uint64_t i = 0; i < dump.indirect_count; i++) {
        uint64_t *word = (uint64_t *)dump.indirect + i;
        *word = ((uint64_t (*)(void))*word)();
    }
    for (uint64_t i = 0; i < dump.init_count; i++)
        ((void (*)(int, char **, char **))((uint64_t *)dump.init)[i])(0, arguments, arguments);
    int result = ((int (*)(int))dump.entry)((int)dump.argument);
    for (uint64_t i = dump.fini_count; i > 0; i--)
        ((void (*)(void))((uint64_t *)dump.fini)[i - 1])();
    printf("returned %d\n", result);
    return 0;
}
