# Relocations at the edges of what they may be.
.text
.globl test
test:
    call *test@GOTPCREL(%rip)
    jmp *near@GOTPCREL(%rip)
    .cfi_startproc
near:
    movq near@GOTPCREL(%rip), %rax
    call outside@PLT
    ret
    .cfi_endproc
.section .rodata.str, "aMS", @progbits, 1
.string "text"
.data
.quad near, outside, test - near
