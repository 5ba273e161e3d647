/* Tables of pointers, common and weak symbols, initialisers, a jump table. */
int puts(const char *text);
extern int absent __attribute__((weak));
int common __attribute__((common));
static int zero[10], data[3] = { 1, 2, 3 };
int *pointer = &data[1];
static const char *const names[] = { "a", "b" };
__attribute__((constructor(200))) static void start(void) { pointer++; }
__attribute__((destructor)) static void end(void) { pointer--; }
int test(int n) {
    switch (n) {
    case 0: return 3;
    case 1: return puts(names[n]);
    case 2: return common++;
    case 3: return zero[n]++;
    case 4: return &absent ? absent : 1;
    default: return *pointer;
    }
}
