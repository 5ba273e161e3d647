//! What is not linked is refused with an error that says where and what to do.

mod compiled;

use compiled::{Outcome, assembly, c, compile, refusal};
use rekindle_cache_core::artifact::{LoadFailure, Loader};
use rekindle_loader::{LinkError, LoadError, NativeLoader};

#[test]
fn code_for_fixed_addresses_names_the_flag() -> Outcome {
    let source =
        "static char text[10]; char *test(int n) { static char *t[] = {text}; return t[n]; }";
    let object = compile("gcc", "c", source, &["-fno-pic", "-mcmodel=small", "-O2"])?;
    let error = refusal(&object, &["test"])?;
    let LinkError::NotPositionIndependent { relocation, site } = &error else {
        return Err(error.into());
    };
    assert!(relocation.starts_with("R_X86_64_32"), "{relocation}");
    assert!(site.section.starts_with(".text"));
    assert!(error.to_string().contains("-fPIC"));
    Ok(())
}

#[test]
fn absolute_addresses_in_text() -> Outcome {
    let object = assembly(".globl test\ntest: movabsq $outside, %rax\nret")?;
    let error = refusal(&object, &["test"])?;
    assert!(
        matches!(error, LinkError::NotPositionIndependent { .. }),
        "{error}"
    );
    Ok(())
}

#[test]
fn direct_references_to_the_outside() -> Outcome {
    let source = "extern int outside __attribute__((visibility(\"hidden\")));
                  int test(void) { return outside; }";
    let error = refusal(&c(source, &["-O2"])?, &["test"])?;
    let LinkError::DirectReference { site, .. } = &error else {
        return Err(error.into());
    };
    assert_eq!(site.symbol, "outside");
    assert!(site.offset > 0);
    Ok(())
}

#[test]
fn thread_locals_of_the_object_at_fixed_distances() -> Outcome {
    let sources = [
        "__thread int own; int test(void) { return own; }",
        "static __thread int own = 1; int test(void) { return ++own; }",
    ];
    for source in sources {
        for flag in ["-ftls-model=initial-exec", "-ftls-model=local-exec"] {
            let error = refusal(&c(source, &["-O2", flag])?, &["test"])?;
            let LinkError::ThreadLocal { site, .. } = &error else {
                return Err(error.into());
            };
            assert_eq!(site.symbol, "own");
            for advice in ["-fPIC", "-femulated-tls"] {
                assert!(error.to_string().contains(advice), "{error}");
            }
        }
    }
    Ok(())
}

#[test]
fn variables_that_are_thread_local_in_one_place_only() -> Outcome {
    let object = assembly(
        ".globl test\ntest: leaq t(%rip), %rax\nret\n.section .tbss,\"awT\",@nobits\nt: .long 0",
    )?;
    let error = refusal(&object, &["test"])?;
    assert!(
        matches!(error, LinkError::ThreadLocalAddress { .. }),
        "{error}"
    );
    let object = assembly(
        ".globl test\ntest: .byte 0x66\nleaq v(%rip), %rdi\n.reloc .-4, R_X86_64_TLSGD, v-4\nret\n.data\nv: .long 0",
    )?;
    let error = refusal(&object, &["test"])?;
    assert!(
        matches!(
            error,
            LinkError::NotThreadLocal { .. } | LinkError::DirectReference { .. }
        ),
        "{error}"
    );
    Ok(())
}

#[test]
fn two_objects_with_one_name() -> Outcome {
    let one = c("int twice = 1; int test(void) { return twice; }", &["-O2"])?;
    let other = c("int twice = 2;", &["-O2"])?;
    let refused = NativeLoader::new().prepare_objects(&[&one, &other], &["test"]);
    let Err(LoadError::Link(error)) = refused else {
        return Err("both define it".into());
    };
    let expected = LinkError::DuplicateSymbol {
        symbol: "twice".to_owned(),
        first: 0,
        second: 1,
    };
    assert_eq!(error, expected);
    Ok(())
}

#[test]
fn roots_have_to_be_defined() -> Outcome {
    let object = c(
        "int outside(void); int test(void) { return outside(); }",
        &["-O2"],
    )?;
    for root in ["absent", "outside", "", "tes"] {
        let error = refusal(&object, &["test", root])?;
        assert_eq!(
            error,
            LinkError::MissingRoot {
                symbol: root.to_owned()
            }
        );
    }
    Ok(())
}

#[test]
fn a_local_function_can_be_a_root_and_a_root_be_given_twice() -> Outcome {
    let source = "static __attribute__((used)) long test(void) { return 42; }";
    let code = compiled::load(&c(source, &["-O2"])?, &["test", "test"])?;
    assert_eq!(compiled::function(&code, "test")?(), 42);
    Ok(())
}

#[test]
fn sections_that_would_have_to_run_or_be_both() -> Outcome {
    for section in [
        ".section .preinit_array,\"aw\",@preinit_array\n.quad test",
        ".section .both,\"awx\"\nboth: .byte 0\n.text\njmp both",
        ".section .init_array,\"aw\",@init_array\n.long 1",
    ] {
        let object = assembly(&format!(".globl test\ntest: ret\n{section}\n"))?;
        let error = refusal(&object, &["test"])?;
        let refused = matches!(
            error,
            LinkError::UnsupportedSection { .. } | LinkError::Malformed { .. }
        );
        assert!(refused, "{section}: {error}");
    }
    Ok(())
}

#[test]
fn data_beyond_what_a_window_holds() -> Outcome {
    let source = "static char huge[300 << 20]; char *test(void) { return huge; }";
    let error = refusal(&c(source, &["-O2"])?, &["test"])?;
    assert!(matches!(error, LinkError::TooLarge { .. }), "{error}");
    let source = "static char big[200 << 20]; char *test(void) { return big + (200 << 20) - 1; }";
    let code = compiled::load(&c(source, &["-O2"])?, &["test"])?;
    let last = compiled::function(&code, "test")?() as *mut u8;
    // SAFETY: it is the last byte of the image's data.
    unsafe {
        assert_eq!(last.read(), 0);
        last.write(1);
    }
    Ok(())
}

#[test]
fn alignment_beyond_what_an_image_has() -> Outcome {
    let object =
        assembly(".globl test\ntest: leaq d(%rip), %rax\nret\n.data\n.balign 1048576\nd: .quad 0")?;
    let error = refusal(&object, &["test"])?;
    assert!(
        matches!(
            error,
            LinkError::Alignment {
                alignment: 1_048_576,
                ..
            }
        ),
        "{error}"
    );
    Ok(())
}

#[test]
fn what_is_no_object_for_this_machine() -> Outcome {
    let not_an_object = |bytes: &[u8]| {
        let refused = NativeLoader::new().prepare(bytes, &[]);
        assert!(
            matches!(refused, Err(LoadError::Link(LinkError::NotAnObject { .. }))),
            "{refused:?}"
        );
        assert!(refused.is_err_and(|error| !error.is_damage()));
    };
    not_an_object(b"");
    not_an_object(b"hello, world");
    // The test itself: an ELF file, but linked already.
    not_an_object(&std::fs::read(std::env::current_exe()?)?);
    let mut object = assembly("ret")?;
    // The machine's number becomes RISC-V's.
    object
        .get_mut(18..20)
        .ok_or("a header")?
        .copy_from_slice(&243u16.to_le_bytes());
    not_an_object(&object);
    Ok(())
}
