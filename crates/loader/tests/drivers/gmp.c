/* Prints numbers that can be computed in other ways, one `name value` a line. */
#include <gmp.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    static const unsigned long moduli[] = { 97, 1000000007, 998244353, 2305843009213693951ul, 4611686018427387847ul };
    mpz_t a, b, c, m;
    mpz_inits(a, b, c, m, NULL);
    mpz_fac_ui(a, 100); gmp_printf("factorial-100 %Zd\n", a);
    mpz_fac_ui(a, 2000); gmp_printf("factorial-2000 %Zd\n", a);
    mpz_fib_ui(a, 5000); gmp_printf("fibonacci-5000 %Zd\n", a);
    for (int i = 0; i < 5; i++)
        for (unsigned long base = 2; base < 6; base++) {
            mpz_set_ui(a, base * 1234567890123ul); mpz_set_ui(m, moduli[i]);
            mpz_powm_ui(b, a, 987654321987ul, m);
            gmp_printf("power-%lu-%lu %Zd\n", base * 1234567890123ul, moduli[i], b);
        }
    /* Identities, at sizes where the different algorithms take over. */
    for (unsigned long bits = 100; bits <= 400000; bits *= 3) {
        gmp_randstate_t random;
        gmp_randinit_mt(random); gmp_randseed_ui(random, bits);
        mpz_urandomb(a, random, bits); mpz_urandomb(b, random, bits / 2 + 1); mpz_add_ui(b, b, 1);
        mpz_mul(c, a, b); mpz_add(m, a, b); mpz_mul(m, m, m);       /* (a+b)^2 - (a-b)^2 = 4ab */
        mpz_sub(a, a, b); mpz_submul(m, a, a); mpz_add(a, a, b);
        mpz_mul_2exp(c, c, 2);
        int product = mpz_cmp(m, c) == 0;
        mpz_tdiv_qr(c, m, a, b); mpz_mul(c, c, b); mpz_add(c, c, m);
        int quotient = mpz_cmp(c, a) == 0;
        mpz_mul(c, a, a); mpz_sqrt(m, c);
        int root = mpz_cmp(m, a) == 0;
        mpz_gcd(m, a, b); mpz_lcm(c, a, b); mpz_mul(m, m, c); mpz_mul(c, a, b);
        int common = mpz_cmp(m, c) == 0;
        char *text = mpz_get_str(NULL, 36, a); mpz_set_str(c, text, 36); free(text);
        printf("identities-%lu %d%d%d%d%d\n", bits, product, quotient, root, common, mpz_cmp(c, a) == 0);
        gmp_randclear(random);
    }
    mpz_ui_pow_ui(a, 2, 521); mpz_sub_ui(a, a, 1);
    printf("prime-2^521-1 %d\n", mpz_probab_prime_p(a, 25) > 0);
    mpz_ui_pow_ui(a, 2, 523); mpz_sub_ui(a, a, 1);
    printf("prime-2^523-1 %d\n", mpz_probab_prime_p(a, 25) > 0);
    mpf_t root;
    mpf_init2(root, 400); mpf_sqrt_ui(root, 2);
    gmp_printf("root-of-2 %.60Ff\n", root);
    mpq_t half, third;
    mpq_inits(half, third, NULL);
    mpq_set_ui(half, 1, 2); mpq_set_ui(third, 1, 3); mpq_add(half, half, third);
    gmp_printf("sum %Qd\n", half);
    return 0;
}
