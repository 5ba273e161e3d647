/* Something of everything, without headers: for targets whose system is not here. */
extern int absent __attribute__((weak));
extern int outside(int);
int common;
static int zero[10];
static int data[3] = {1, 2, 3};
int *pointer = &data[1];
static const char *const names[] = {"a", "b"};
static __thread int local = 3;
static double half = 0.5;

__attribute__((constructor)) static void start(void)
{
    pointer++;
}

int test(int n)
{
    switch (n) {
    case 0: return 3;
    case 1: return outside(*names[n]);
    case 2: return common;
    case 3: return zero[n];
    case 4: return absent;
    case 5: return *pointer;
    }
    return outside(n) + local++ + (int)(half * n);
}
