/* Thread-locals and functions picked at run time. */
static __thread int counter = 3;
extern __thread int elsewhere;
static int one(void) { return 1; }
static int (*resolve(void))(void) { return one; }
int chosen(void) __attribute__((ifunc("resolve")));
int test(void) { return chosen() + counter++ + elsewhere; }
