# What is for the host, and what few compilers write.
    .text
    .globl test
    .type test, @function
test:
    .cfi_startproc
    movq slot(%rip), %rax
    leaq stderr(%rip), %rcx
    movq stderr(%rip), %rdx
    call chosen@PLT
trap:
    movq __start_listed@GOTPCREL(%rip), %rsi
    ret
    .cfi_endproc
    .size test, . - test
    .globl chosen
    .type chosen, @gnu_indirect_function
chosen:
    leaq test(%rip), %rax
    ret
    .comm common, 24, 8
    .section .rekindle.constants,"aw",@progbits
slot:
    .quad object_of_the_host, common
    .section .rekindle.side.traps,"ao",@progbits,.text
    .quad trap
    .section listed,"aw",@progbits
    .quad test
    .section .init_array.101,"aw",@init_array
    .quad test
    .section .data.weak._Zx,"awG",@progbits,_Zx,comdat
    .weak _Zx
    .type _Zx, @object
    .size _Zx, 8
_Zx:
    .quad 7
    .text
    movq _Zx@GOTPCREL(%rip), %rax
