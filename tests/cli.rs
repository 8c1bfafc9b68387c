//! The command line as a user meets it: each `.trycmd` file is a session, recorded with what was printed
//! and the exit code. `TRYCMD=overwrite cargo test --test cli` records them anew.

#[test]
fn sessions() {
    trycmd::TestCases::new()
        // Help is as wide as the terminal, or as this says.
        .env("COLUMNS", "100")
        .case("tests/cli/*.trycmd");
}

/// Its text is clap's, so it is not recorded; that it is a script with our commands in it is.
#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_lwt"))
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(done.status.success(), "{shell}");
        let script = String::from_utf8(done.stdout).unwrap();
        assert!(script.contains("analyze") && script.contains("dead-letter"), "{shell}: {script}");
    }
}
