//! Objects with one kind of relocation each.
//!
//! Every source defines `test`, which returns 42 where it can be run. Sections that are to be compared
//! begin with a global label `SECTION_start`, so that both linkers can be told where they lie.

use object::elf;

/// What a linker is asked to do with one kind.
pub(crate) struct Case {
    pub(crate) kind: u32,
    /// What is referred to, and how.
    pub(crate) what: &'static str,
    pub(crate) source: &'static str,
    /// The kind that the assembler is given instead, where it does not know this one.
    pub(crate) written_as: Option<u32>,
    pub(crate) proof: Proof,
}

/// What the case is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Running `test`.
    Run,
    /// Running it, and comparing the bytes with those of lld.
    RunAndCompare(Meet),
    /// Comparing alone: the instructions are of processors to come.
    Compare(Meet),
    /// Linking fails: there is nothing right to do.
    Refuse,
}

/// What lld has to be told so that its layout is the image's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meet {
    /// Where the sections lie.
    Sections,
    /// Where the slot lies, which the four bytes at the label `field` lead to.
    Slot,
    /// That `outside` lies where the four bytes at the label `field` lead to: at the stub.
    Stub,
}

const fn run(kind: u32, what: &'static str, source: &'static str) -> Case {
    case(kind, what, source, Proof::Run)
}

const fn both(kind: u32, what: &'static str, meet: Meet, source: &'static str) -> Case {
    case(kind, what, source, Proof::RunAndCompare(meet))
}

const fn refuse(kind: u32, what: &'static str, source: &'static str) -> Case {
    case(kind, what, source, Proof::Refuse)
}

const fn case(kind: u32, what: &'static str, source: &'static str, proof: Proof) -> Case {
    Case {
        kind,
        what,
        source,
        written_as: None,
        proof,
    }
}

const fn as_word(mut case: Case) -> Case {
    case.written_as = Some(elf::R_X86_64_PC32);
    case
}

const fn as_long(mut case: Case) -> Case {
    case.written_as = Some(elf::R_X86_64_64);
    case
}

use Meet::{Sections, Slot, Stub};

/// All cases, by kind.
pub(crate) const CASES: &[Case] = &[
    run(elf::R_X86_64_NONE, "nothing", "test: .reloc ., R_X86_64_NONE, test\nmovl $42, %eax; ret"),
    both(elf::R_X86_64_64, "data of the image, with an addend", Sections, ABSOLUTE),
    run(
        elf::R_X86_64_64,
        "a function of the process",
        "test: subq $8, %rsp; movq $-42, %rdi; movq pointer(%rip), %rax; call *%rax; addq $8, %rsp; ret
         .data; pointer: .quad labs",
    ),
    run(
        elf::R_X86_64_64,
        "a weak symbol that nobody has",
        ".weak absent
         test: movq pointer(%rip), %rax; addq $42, %rax; ret
         .data; pointer: .quad absent",
    ),
    refuse(elf::R_X86_64_64, "in text", "test: movabsq $outside, %rax; ret"),
    both(elf::R_X86_64_PC32, "data of the image", Sections, DIRECT),
    both(elf::R_X86_64_PC32, "a function in another section", Sections, ACROSS),
    run(
        elf::R_X86_64_PC32,
        "a branch to a function of the process",
        "test: subq $8, %rsp; movq $-42, %rdi; .byte 0xe8; .reloc ., R_X86_64_PC32, labs-4; .long 0; addq $8, %rsp; ret",
    ),
    run(
        elf::R_X86_64_PC32,
        "a load of data of the process (code for PIE)",
        "test: movq stderr(%rip), %rax; cmpq stderr@GOTPCREL(%rip), %rax; sete %cl
         movq stderr@GOTPCREL(%rip), %rdx; cmpq (%rdx), %rax; sete %al; subb %cl, %al; movzbl %al, %eax; imull $42, %eax; ret",
    ),
    run(
        elf::R_X86_64_PC32,
        "the address of data of the process (code for PIE)",
        "test: leaq stderr(%rip), %rax; cmpq stderr@GOTPCREL(%rip), %rax; sete %al; movzbl %al, %eax; imull $42, %eax; ret",
    ),
    run(
        elf::R_X86_64_PC32,
        "an address beyond that of data of the process (code for PIE)",
        "test: leaq outside_data + 16(%rip), %r8; movl -16(%r8), %eax; ret",
    ),
    refuse(
        elf::R_X86_64_PC32,
        "a store to data of the process (code for PIE)",
        "test: movl $1, opterr(%rip); ret",
    ),
    refuse(
        elf::R_X86_64_PC32,
        "out of reach",
        "test: leaq far(%rip), %rax; ret; .data; far: .reloc ., R_X86_64_PC32, test - 0x7fffffff; .long 0",
    ),
    run(
        elf::R_X86_64_GOT32,
        "a slot, from the table's beginning",
        "test: leaq _GLOBAL_OFFSET_TABLE_(%rip), %rcx
         .byte 0x48, 0xc7, 0xc0; .reloc ., R_X86_64_GOT32, data; .long 0
         movq (%rcx, %rax), %rax; movl (%rax), %eax; ret
         .data; data: .long 42",
    ),
    both(elf::R_X86_64_PLT32, "a function of the image", Sections, INNER_CALL),
    both(
        elf::R_X86_64_PLT32,
        "a function of the process",
        Stub,
        ".globl text_start; text_start:
         test: subq $8, %rsp; movq $-42, %rdi; .byte 0xe8; .globl field; field: .reloc ., R_X86_64_PLT32, labs-4; .long 0
         addq $8, %rsp; ret",
    ),
    refuse(elf::R_X86_64_COPY, "for dynamic linkers", "test: .reloc ., R_X86_64_COPY, test; .long 0; ret"),
    refuse(elf::R_X86_64_GLOB_DAT, "for dynamic linkers", "test: .reloc ., R_X86_64_GLOB_DAT, test; .quad 0; ret"),
    refuse(elf::R_X86_64_JUMP_SLOT, "for dynamic linkers", "test: .reloc ., R_X86_64_JUMP_SLOT, test; .quad 0; ret"),
    refuse(elf::R_X86_64_RELATIVE, "for dynamic linkers", "test: .reloc ., R_X86_64_RELATIVE, 0; .quad 0; ret"),
    both(
        elf::R_X86_64_GOTPCREL,
        "data of the process",
        Slot,
        ".globl text_start; text_start:
         test: .byte 0x48, 0x8b, 0x05; .globl field; field: .reloc ., R_X86_64_GOTPCREL, outside_data-4; .long 0
         movl (%rax), %eax; ret",
    ),
    both(elf::R_X86_64_GOTPCREL, "data of the image", Slot, SLOT_OF_DATA),
    refuse(elf::R_X86_64_32, "in text", "test: movl $test, %eax; ret"),
    run(
        elf::R_X86_64_32,
        "in debug information, which is passed over",
        "test: movl $42, %eax; ret; .section .debug_info; .long test",
    ),
    refuse(elf::R_X86_64_32S, "in text", "test: movq $test, %rax; ret"),
    refuse(elf::R_X86_64_16, "in text", "test: movw $test, %ax; ret; nop"),
    both(elf::R_X86_64_PC16, "near by", Sections, NEAR_16),
    refuse(elf::R_X86_64_8, "in text", "test: movb $test, %al; ret; nop; nop"),
    both(elf::R_X86_64_PC8, "near by", Sections, NEAR_8),
    run(elf::R_X86_64_DTPMOD64, "the image, as a word of data", PAIR_IN_DATA),
    refuse(elf::R_X86_64_DTPMOD64, "in text", "test: .reloc ., R_X86_64_DTPMOD64, test; .quad 0; ret"),
    run(
        elf::R_X86_64_DTPOFF64,
        "in debug information, which is passed over",
        "test: movl $42, %eax; ret; .section .tdata,\"awT\"; v: .long 1; .section .debug_info; .reloc ., R_X86_64_DTPOFF64, v; .quad 0",
    ),
    run(elf::R_X86_64_DTPOFF64, "a thread-local's offset, as a word of data", PAIR_IN_DATA),
    run(
        elf::R_X86_64_DTPOFF64,
        "a thread-local's offset (large model)",
        "test: subq $8, %rsp; leaq v@TLSLD(%rip), %rdi; call __tls_get_addr@PLT
         .byte 0x48, 0xb9; .reloc ., R_X86_64_DTPOFF64, v; .quad 0
         movl (%rax, %rcx), %eax; addq $8, %rsp; ret
         .section .tdata,\"awT\"; .long 7; v: .long 42",
    ),
    run(
        elf::R_X86_64_TPOFF64,
        "a thread-local of the process, as a word of data",
        "test: subq $8, %rsp
         movq offset(%rip), %rax; movl $42, %fs:(%rax)
         call __errno_location@PLT; movl (%rax), %eax; addq $8, %rsp; ret
         .data; offset: .reloc ., R_X86_64_TPOFF64, errno; .quad 0",
    ),
    refuse(elf::R_X86_64_TPOFF64, "in text", "test: .reloc ., R_X86_64_TPOFF64, test; .quad 0; ret"),
    run(
        elf::R_X86_64_TLSGD,
        "a thread-local of the image",
        "test: subq $8, %rsp
         .byte 0x66; leaq v@TLSGD(%rip), %rdi; .value 0x6666; rex64; call __tls_get_addr@PLT
         movl (%rax), %eax; addq $8, %rsp; ret
         .section .tdata,\"awT\"; .globl v; .long 7; v: .long 42",
    ),
    run(
        elf::R_X86_64_TLSGD,
        "a thread-local of the image, without the linkage table",
        "test: subq $8, %rsp
         .byte 0x66; leaq v@TLSGD(%rip), %rdi; .byte 0x66; rex64; call *__tls_get_addr@GOTPCREL(%rip)
         movl (%rax), %eax; addq $8, %rsp; ret
         .section .tdata,\"awT\"; .globl v; .long 7; v: .long 42",
    ),
    run(
        elf::R_X86_64_TLSGD,
        "a thread-local of the process",
        "test: subq $8, %rsp
         .byte 0x66; leaq errno@TLSGD(%rip), %rdi; .value 0x6666; rex64; call __tls_get_addr@PLT
         movl $42, (%rax); call __errno_location@PLT; movl (%rax), %eax; addq $8, %rsp; ret",
    ),
    run(elf::R_X86_64_TLSLD, "a thread-local of the image", LOCAL_DYNAMIC),
    run(elf::R_X86_64_DTPOFF32, "its offset", LOCAL_DYNAMIC),
    run(
        elf::R_X86_64_DTPOFF32,
        "in debug information, which is passed over",
        "test: movl $42, %eax; ret; .section .tdata,\"awT\"; v: .long 1; .section .debug_info; .long v@DTPOFF",
    ),
    run(
        elf::R_X86_64_GOTTPOFF,
        "a thread-local of the process",
        "test: subq $8, %rsp
         movq errno@GOTTPOFF(%rip), %rax; movl $42, %fs:(%rax)
         call __errno_location@PLT; movl (%rax), %eax; addq $8, %rsp; ret",
    ),
    refuse(
        elf::R_X86_64_GOTTPOFF,
        "a thread-local of the image",
        "test: movq v@GOTTPOFF(%rip), %rax; movl %fs:(%rax), %eax; ret; .section .tdata,\"awT\"; v: .long 42",
    ),
    run(
        elf::R_X86_64_TPOFF32,
        "a thread-local of the process",
        "test: subq $8, %rsp; movl $42, %fs:errno@TPOFF
         call __errno_location@PLT; movl (%rax), %eax; addq $8, %rsp; ret",
    ),
    refuse(
        elf::R_X86_64_TPOFF32,
        "a thread-local of the image",
        "test: movl %fs:v@TPOFF, %eax; ret; .section .tdata,\"awT\"; v: .long 42",
    ),
    both(elf::R_X86_64_PC64, "data of the image", Sections, DISTANCE),
    run(elf::R_X86_64_GOTOFF64, "data of the image, from the table", LARGE),
    run(
        elf::R_X86_64_GOTPC32,
        "the table",
        "test: leaq _GLOBAL_OFFSET_TABLE_(%rip), %rcx; movabsq $data@GOTOFF, %rax; movl (%rcx, %rax), %eax; ret
         .data; data: .long 42",
    ),
    run(elf::R_X86_64_GOT64, "a slot, from the table", LARGE),
    run(
        elf::R_X86_64_GOTPCREL64,
        "a slot, from here",
        "test: leaq field(%rip), %rcx
         .byte 0x48, 0xb8; field: .reloc ., R_X86_64_GOTPCREL64, data; .quad 0
         movq (%rcx, %rax), %rax; movl (%rax), %eax; ret
         .data; data: .long 42",
    ),
    run(elf::R_X86_64_GOTPC64, "the table", LARGE),
    run(
        elf::R_X86_64_GOTPLT64,
        "a slot, from the table",
        "test: subq $8, %rsp; leaq _GLOBAL_OFFSET_TABLE_(%rip), %rcx; movq $-42, %rdi
         .byte 0x48, 0xb8; .reloc ., R_X86_64_GOTPLT64, labs; .quad 0
         call *(%rcx, %rax); addq $8, %rsp; ret",
    ),
    run(
        elf::R_X86_64_PLTOFF64,
        "a function of the process, from the table",
        "test: subq $8, %rsp; leaq _GLOBAL_OFFSET_TABLE_(%rip), %rcx; movq $-42, %rdi
         movabsq $labs@PLTOFF, %rax; addq %rcx, %rax; call *%rax; addq $8, %rsp; ret",
    ),
    run(
        elf::R_X86_64_PLTOFF64,
        "a function of the image, from the table",
        "test: leaq _GLOBAL_OFFSET_TABLE_(%rip), %rcx
         movabsq $target@PLTOFF, %rax; addq %rcx, %rax; jmp *%rax
         .globl target; .type target, @function; target: movl $42, %eax; ret",
    ),
    both(
        elf::R_X86_64_SIZE32,
        "data of the image",
        Sections,
        ".globl text_start; text_start:
         test: movl $data_start@SIZE, %eax; ret
         .data; .globl data_start; data_start: .zero 42; .size data_start, 42",
    ),
    both(
        elf::R_X86_64_SIZE64,
        "data of the image",
        Sections,
        ".globl text_start; text_start:
         test: movabsq $data_start@SIZE, %rax; ret
         .data; .globl data_start; data_start: .zero 42; .size data_start, 42",
    ),
    run(elf::R_X86_64_GOTPC32_TLSDESC, "a thread-local of the image", DESCRIPTOR),
    run(elf::R_X86_64_TLSDESC_CALL, "the call through its descriptor", DESCRIPTOR),
    refuse(elf::R_X86_64_TLSDESC, "for dynamic linkers", "test: .reloc ., R_X86_64_TLSDESC, test; .quad 0, 0; ret"),
    refuse(elf::R_X86_64_IRELATIVE, "for dynamic linkers", "test: .reloc ., R_X86_64_IRELATIVE, 0; .quad 0; ret"),
    as_long(refuse(
        elf::R_X86_64_RELATIVE64,
        "for dynamic linkers",
        "test: ret; .data; .globl data_start; data_start: .quad test; .text; leaq data_start(%rip), %rax",
    )),
    both(
        elf::R_X86_64_GOTPCRELX,
        "a call to a function of the image, relaxed",
        Sections,
        ".globl text_start; text_start:
         test: call *target@GOTPCREL(%rip); addl $2, %eax; ret
         .globl target; target: movl $40, %eax; ret",
    ),
    both(
        elf::R_X86_64_GOTPCRELX,
        "a jump to a function of the image, relaxed",
        Sections,
        ".globl text_start; text_start:
         test: jmp *target@GOTPCREL(%rip)
         .globl target; target: movl $42, %eax; ret",
    ),
    both(
        elf::R_X86_64_GOTPCRELX,
        "a call to a function of the process",
        Slot,
        ".globl text_start; text_start:
         test: subq $8, %rsp; movq $-42, %rdi; .byte 0xff, 0x15; .globl field; field: .reloc ., R_X86_64_GOTPCRELX, labs-4; .long 0
         addq $8, %rsp; ret",
    ),
    both(
        elf::R_X86_64_REX_GOTPCRELX,
        "a load of an address in the image, relaxed",
        Sections,
        ".globl text_start; text_start:
         test: movq data_start@GOTPCREL(%rip), %r9; movl (%r9), %eax; ret
         .data; .globl data_start; data_start: .long 42",
    ),
    both(
        elf::R_X86_64_REX_GOTPCRELX,
        "a load of an address in the process",
        Slot,
        ".globl text_start; text_start:
         test: .byte 0x48, 0x8b, 0x05; .globl field; field: .reloc ., R_X86_64_REX_GOTPCRELX, outside_data-4; .long 0
         movl (%rax), %eax; ret",
    ),
    // movq slot(%rip), %r16, which needs REX2.
    code(elf::R_X86_64_CODE_4_GOTPCRELX, "0xd5, 0x48, 0x8b, 0x05"),
    field_alone(elf::R_X86_64_CODE_4_GOTTPOFF, OFFSET_FIELD),
    field_alone(elf::R_X86_64_CODE_4_GOTPC32_TLSDESC, DESCRIPTOR_FIELD),
    field_alone(elf::R_X86_64_CODE_5_GOTPCRELX, SLOT_FIELD),
    field_alone(elf::R_X86_64_CODE_5_GOTTPOFF, OFFSET_FIELD),
    field_alone(elf::R_X86_64_CODE_5_GOTPC32_TLSDESC, DESCRIPTOR_FIELD),
    field_alone(elf::R_X86_64_CODE_6_GOTPCRELX, SLOT_FIELD),
    field_alone(elf::R_X86_64_CODE_6_GOTTPOFF, OFFSET_FIELD),
    field_alone(elf::R_X86_64_CODE_6_GOTPC32_TLSDESC, DESCRIPTOR_FIELD),
];

const fn code(kind: u32, _instruction: &'static str) -> Case {
    as_word(case(
        kind,
        "a load of an address in the process (APX)",
        ".globl text_start; text_start:
         test: .byte 0xd5, 0x48, 0x8b, 0x05; .globl field; field: .reloc ., R_X86_64_PC32, outside_data-4; .long 0
         ret",
        Proof::Compare(Slot),
    ))
}

/// Processors with APX are rare, so code without it does with the field what its instruction would.
const fn field_alone(kind: u32, source: &'static str) -> Case {
    as_word(run(
        kind,
        "the field alone, without the instruction (APX)",
        source,
    ))
}

const SLOT_FIELD: &str = "test: movslq field(%rip), %rax; leaq field+4(%rip), %rcx; addq %rcx, %rax
    movq (%rax), %rax; movl (%rax), %eax; ret
    field: .reloc ., R_X86_64_PC32, outside_data-4; .long 0";

const OFFSET_FIELD: &str = "test: subq $8, %rsp
    movslq field(%rip), %rax; leaq field+4(%rip), %rcx; addq %rcx, %rax
    movq (%rax), %rax; movl $42, %fs:(%rax)
    call __errno_location@PLT; movl (%rax), %eax; addq $8, %rsp; ret
    field: .reloc ., R_X86_64_PC32, errno-4; .long 0";

const DESCRIPTOR_FIELD: &str = "test: subq $8, %rsp
    movslq field(%rip), %rax; leaq field+4(%rip), %rcx; addq %rcx, %rax
    call *(%rax); movl %fs:(%rax), %eax; addq $8, %rsp; ret
    field: .reloc ., R_X86_64_PC32, v-4; .long 0
    .section .tdata,\"awT\"; .globl v; .long 7; v: .long 42";

const PAIR_IN_DATA: &str = "test: subq $8, %rsp; leaq pair(%rip), %rdi; call __tls_get_addr@PLT
    movl (%rax), %eax; addq $8, %rsp; ret
    .data; .balign 16; pair: .reloc ., R_X86_64_DTPMOD64, v; .quad 0; .reloc ., R_X86_64_DTPOFF64, v; .quad 0
    .section .tdata,\"awT\"; .long 7; v: .long 42";

const ABSOLUTE: &str = ".globl text_start; text_start:
    test: movq data_start(%rip), %rax; movl -8(%rax), %eax; ret
    .data; .globl data_start; data_start: .quad number + 8; .long 3
    number: .long 42";

const DIRECT: &str = ".globl text_start, rodata_start, data_start; text_start:
    test: movl data_start + 4(%rip), %eax; addl rodata_start(%rip), %eax; ret
    .section .rodata; .long 7; rodata_start: .long 40
    .data; .long 1; data_start: .long 5, 2";

const ACROSS: &str = ".globl text_start; text_start:
    .zero 300, 0x90
    test: leaq target(%rip), %rax; jmp *%rax
    .section .text.other,\"ax\"; .globl other_start; other_start: .zero 70000, 0x90
    target: movl $42, %eax; ret";

const INNER_CALL: &str = ".globl text_start, other_start; text_start:
    test: call other_start@PLT; jmp back@PLT; ret
    .section .text.other,\"ax\"; other_start: movl $40, %eax; ret
    .globl back; back: addl $2, %eax; ret";

const SLOT_OF_DATA: &str = ".globl text_start; text_start:
    test: .byte 0x48, 0x8b, 0x05; .globl field; field: .reloc ., R_X86_64_GOTPCREL, number-4; .long 0
    movl (%rax), %eax; ret
    .data; .globl data_start, number; data_start: .long 1; number: .long 42";

const NEAR_16: &str = ".globl text_start; text_start:
    test: movswl field(%rip), %eax; addl $32, %eax; ret
    field: .reloc ., R_X86_64_PC16, target; .value 0; .zero 8
    .globl target; target: ret";

const NEAR_8: &str = ".globl text_start; text_start:
    test: movsbl field(%rip), %eax; addl $33, %eax; ret
    field: .reloc ., R_X86_64_PC8, target; .byte 0; .zero 8
    .globl target; target: ret";

const DISTANCE: &str = ".globl text_start, rodata_start, data_start; text_start:
    test: leaq rodata_start(%rip), %rax; addq (%rax), %rax; movl (%rax), %eax; ret
    .section .rodata; rodata_start: .quad number - rodata_start
    .data; data_start: .long 1; number: .long 42";

const LOCAL_DYNAMIC: &str = "test: subq $8, %rsp
    leaq v@TLSLD(%rip), %rdi; call __tls_get_addr@PLT
    movl v@DTPOFF(%rax), %eax; addq $8, %rsp; ret
    .section .tdata,\"awT\"; .long 7; v: .long 42";

const DESCRIPTOR: &str = "test: subq $8, %rsp
    leaq v@TLSDESC(%rip), %rax; call *v@TLSCALL(%rax)
    movl %fs:(%rax), %eax; addq $8, %rsp; ret
    .section .tdata,\"awT\"; .globl v; .long 7; v: .long 42";

const LARGE: &str = "test: leaq test(%rip), %rcx
    movabsq $_GLOBAL_OFFSET_TABLE_ - test, %rdx; addq %rdx, %rcx
    movabsq $data@GOTOFF, %rax; movl (%rcx, %rax), %eax
    movabsq $number@GOT, %rdx; movq (%rcx, %rdx), %rdx; addl (%rdx), %eax; ret
    .data; data: .long 40; .globl number; number: .long 2";
