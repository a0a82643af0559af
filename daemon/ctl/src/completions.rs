//! `wharfctl completions`: clap's scripts, which call `wharfctl names` if a verb takes an instance or a package.

use std::time::Duration;

use clap_complete::{Shell, generate};

use crate::{agent::AgentClient, error::CommandError, output::print};

/// The verbs whose first word is an instance.
const OF_INSTANCES: [&str; 10] = [
    "show",
    "history",
    "logs",
    "install",
    "uninstall",
    "activate",
    "deactivate",
    "back",
    "cancel",
    "delete",
];

/// The verbs whose word is a package.
const OF_PACKAGES: [&str; 2] = ["units", "forgive"];

const NAMES: &str = "wharfctl names 2>/dev/null";

/// The script for a shell. The scripts for bash, fish and zsh complete names.
pub(crate) fn script(shell: Shell, command: &mut clap::Command) -> String {
    let mut script = Vec::new();
    generate(shell, command, "wharfctl", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => bash(&script),
        Shell::Fish => script.into_owned() + &fish(),
        Shell::Zsh => zsh(&script),
        _ => script.into_owned(),
    }
}

/// The script has a list of all words for each verb, in double quotes.
fn bash(script: &str) -> String {
    let (mut verb, mut option, mut text) = ("", "", String::new());
    for line in script.lines() {
        let word = line.trim();
        if let Some(label) = word.strip_suffix(')').filter(|label| !label.contains('(')) {
            match label.strip_prefix("wharfctl__subcmd__") {
                Some(name) => verb = name,
                None => option = label,
            }
        }
        let names = match verb {
            _ if OF_PACKAGES.contains(&verb) => format!("$({NAMES} --packages)"),
            _ if OF_INSTANCES.contains(&verb) => format!("$({NAMES})"),
            _ => String::new(),
        };
        let all = word
            .strip_prefix("opts=\"")
            .and_then(|all| all.strip_suffix('"'));
        match all {
            Some(all) if !names.is_empty() => {
                text += &format!("            opts=\"{all} {names}\"")
            }
            _ if option == "--instance" && word == "COMPREPLY=($(compgen -f \"${cur}\"))" => {
                text += &line.replace("-f ", &format!("-W \"$({NAMES})\" -- "));
            }
            _ => text += line,
        }
        text.push('\n');
    }
    text
}

fn fish() -> String {
    let verb = |verb: &str| {
        // `install` also takes a file.
        let no_files = if verb == "install" { "" } else { "-f " };
        format!(
            "complete -c wharfctl -n \"__fish_wharfctl_using_subcommand {verb}\" {no_files}-a \"({NAMES})\"\n"
        )
    };
    let of_package = |verb: &str| {
        format!(
            "complete -c wharfctl -n \"__fish_wharfctl_using_subcommand {verb}\" -f -a \"({NAMES} --packages)\"\n"
        )
    };
    let verbs: String = OF_INSTANCES.into_iter().map(verb).collect();
    let packages: String = OF_PACKAGES.into_iter().map(of_package).collect();
    format!(
        "{verbs}{packages}\
         complete -c wharfctl -n \"__fish_wharfctl_using_subcommand install\" -l instance -x -a \"({NAMES})\"\n"
    )
}

/// The script has a line for each argument, which ends with the completion function.
fn zsh(script: &str) -> String {
    const OF_AN_INSTANCE: [&str; 4] = [
        "':instance -- ",
        "'::instance -- ",
        "':subject -- ",
        "'--instance=[",
    ];
    let completed = |line: &str| {
        let by = match line {
            _ if OF_AN_INSTANCE.iter().any(|begin| line.starts_with(begin)) => "names",
            _ if line.starts_with("':package -- ") => "names_and_files",
            _ if line.starts_with("':name -- ") => "packages",
            _ => return format!("{line}\n"),
        };
        line.replace(":_default'", &format!(":_wharfctl_{by}'")) + "\n"
    };
    let functions = format!(
        "\n_wharfctl_names() {{ compadd -- ${{(f)\"$({NAMES})\"}} }}\n\
         _wharfctl_packages() {{ compadd -- ${{(f)\"$({NAMES} --packages)\"}} }}\n\
         _wharfctl_names_and_files() {{ _wharfctl_names; _files }}\n"
    );
    let script: String = script.lines().map(completed).collect();
    // Insert above the lines that call the completion.
    match script.rfind("\nif [") {
        Some(end) => {
            let (above, below) = script.split_at(end);
            format!("{above}{functions}{below}")
        }
        None => script,
    }
}

/// Prints the names of instances and packages, one a line.
pub(crate) async fn names(
    agent: &AgentClient,
    packages: bool,
    json: bool,
) -> Result<(), CommandError> {
    const PATIENCE: Duration = Duration::from_secs(2); // a user waits at a prompt
    let snapshot = tokio::time::timeout(PATIENCE, agent.snapshot()).await;
    let mut names = Vec::new();
    for instance in snapshot.map_err(|_| CommandError::Silence)??.instances {
        names.extend((!packages).then(|| instance.id.to_string()));
        let in_place = instance.in_place.map(|software| software.name);
        names.extend(instance.name.into_iter().chain(in_place));
    }
    names.sort();
    names.dedup();
    print(json, &names, || {
        names.iter().map(|name| format!("{name}\n")).collect()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn a_shell_asks_for_names_wherever_a_verb_takes_an_instance_or_a_package() {
        let mut command = Arguments::command();
        let [bash, fish, zsh] =
            [Shell::Bash, Shell::Fish, Shell::Zsh].map(|shell| script(shell, &mut command));
        for verb in command.get_subcommands() {
            let takes = |id: &str| {
                verb.get_positionals()
                    .any(|argument| argument.get_id() == id)
            };
            let by = match () {
                () if ["instance", "subject", "package"].into_iter().any(takes) => NAMES,
                () if takes("name") => "wharfctl names 2>/dev/null --packages",
                () => continue,
            };
            let name = verb.get_name();
            let block = format!("        wharfctl__subcmd__{name})\n");
            let of_bash = bash.split(&block);
            let all = of_bash.last().unwrap().lines().next().unwrap();
            assert!(all.ends_with(&format!(" $({by})\"")), "{name}: {all}");
            let of_fish = format!("using_subcommand {name}\"");
            let of_fish = fish.lines().filter(|line| line.contains(&of_fish));
            let ends = format!(" -a \"({by})\"");
            assert!(of_fish.clone().any(|line| line.ends_with(&ends)), "{name}");
            let of_zsh = zsh.split(&format!("\n({name})\n")).nth(1).unwrap();
            let of_zsh = of_zsh.split(";;").next().unwrap();
            assert!(of_zsh.contains(":_wharfctl_"), "{name}: {of_zsh}");
        }
    }
}
