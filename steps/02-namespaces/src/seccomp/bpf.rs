//! Classic BPF: the language that the kernel's filter is written in.
//!
//! A program is a list of 8-byte instructions with one register and jumps
//! that only go forward, so that it must end. The kernel checks every call
//! against it, so what counts is how few instructions a call passes: the
//! calls are found by a binary search over ranges of numbers, nine steps
//! for four hundred calls.

use std::collections::BTreeMap;

use super::profile::{Comparison, Condition};

/// One instruction (`struct sock_filter`).
pub(crate) type Instruction = libc::sock_filter;

/// What is done with a call: `SECCOMP_RET_ALLOW`, or an errno, or a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The first list of conditions that all hold decides.
    pub(crate) cases: Vec<(Vec<Condition>, u32)>,
    /// `SECCOMP_RET_*` if none does.
    pub(crate) otherwise: u32,
}

impl Verdict {
    /// The same for every argument.
    pub(crate) fn always(value: u32) -> Verdict {
        Verdict { cases: Vec::new(), otherwise: value }
    }
}

// Offsets into `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const GO_TO: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Not a call at all: who traces a process makes it skip one with this
/// (seccomp(2)), so it is never taken for one of another kind of program.
const SKIP: u32 = u32::MAX;

/// What is done with the calls of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    /// `AUDIT_ARCH_*`.
    pub(crate) arch: u32,
    /// By number.
    pub(crate) calls: BTreeMap<u32, Verdict>,
    /// Numbers from here on are foreign; a filter that took them for calls
    /// that it does not know could be walked around with them.
    pub(crate) shut_from: Option<u32>,
}

/// What is done with a call that no table has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Others {
    /// Its instruction set has a table, without this number.
    pub(crate) unknown: u32,
    /// Its instruction set has no table. Not the same as `unknown`: a list
    /// of what is refused allows all else, and says nothing about numbers
    /// that mean other calls.
    pub(crate) foreign: u32,
}

/// Makes the program.
pub(crate) fn program(tables: &[Table], others: Others) -> Vec<Instruction> {
    let Others { unknown, foreign } = others;
    let mut code = vec![step(LOAD, ARCH)];
    for table in tables {
        let mut own = vec![step(LOAD, NUMBER)];
        if let Some(start) = table.shut_from {
            own.push(branch(AT_LEAST, start, 0, 2));
            own.push(branch(EQUAL, SKIP, 1, 0));
            own.push(step(RETURN, foreign));
        }
        own.extend(search(&ranges(&table.calls, unknown)));
        let over = u32::try_from(own.len()).unwrap_or(u32::MAX);
        code.extend([branch(EQUAL, table.arch, 1, 0), step(GO_TO, over)]);
        code.extend(own);
    }
    code.push(step(RETURN, foreign));
    code
}

/// Neighbours with the same verdict become one range, named by its start.
/// System calls were numbered as they came, so most of what is allowed lies
/// together: four hundred calls make some sixty ranges.
fn ranges(calls: &BTreeMap<u32, Verdict>, unknown: u32) -> Vec<(u32, Verdict)> {
    let nothing = Verdict::always(unknown);
    let mut ranges = vec![(0, nothing.clone())];
    let mut put = |start: u32, verdict: &Verdict| {
        if ranges.last().is_some_and(|(_, last)| last == verdict) {
            return;
        }
        if ranges.last().is_some_and(|(last, _)| *last == start) {
            ranges.pop();
        }
        ranges.push((start, verdict.clone()));
    };
    let mut next = 0;
    for (number, verdict) in calls {
        if *number > next {
            put(next, &nothing);
        }
        put(*number, verdict);
        next = number + 1;
    }
    put(next, &nothing);
    ranges
}

/// A binary search: one comparison, then the left or the right half.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    let [.., (_, last)] = ranges else { return Vec::new() };
    if ranges.len() == 1 {
        return decide(last);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let start = high[0].0;
    let (low, high) = (search(low), search(high));
    // A conditional jump reaches 255 instructions, GO_TO any number.
    let mut code = match u8::try_from(low.len()) {
        Ok(over) => vec![branch(AT_LEAST, start, over, 0)],
        Err(_) => vec![
            branch(AT_LEAST, start, 0, 1),
            step(GO_TO, u32::try_from(low.len()).unwrap_or(u32::MAX)),
        ],
    };
    code.extend(low);
    code.extend(high);
    code
}

/// The end of a search: the verdict, with its tests of arguments if it has
/// any. A filter sees the six registers and not what pointers point to,
/// since that could be changed between the check and the call.
fn decide(verdict: &Verdict) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, value) in &verdict.cases {
        let mut case: Vec<_> = conditions.iter().flat_map(test).collect();
        case.push(step(RETURN, *value));
        let end = case.len();
        for (at, instruction) in case.iter_mut().enumerate() {
            let over = u8::try_from(end - at - 1).unwrap_or(u8::MAX);
            for jump in [&mut instruction.jt, &mut instruction.jf] {
                if *jump == FAIL {
                    *jump = over;
                }
            }
        }
        code.extend(case);
    }
    code.push(step(RETURN, verdict.otherwise));
    code
}

/// Stands for "to the end of this case" until that is known.
const FAIL: u8 = u8::MAX;

/// Falls through if the condition holds, else jumps to [`FAIL`]. Arguments
/// have 64 bits and the register 32, so each is compared in two halves, the
/// high one first.
fn test(condition: &Condition) -> Vec<Instruction> {
    let (big, small) = halves(condition.value);
    match condition.op {
        Comparison::Equal => equal(condition, None, (big, small)),
        Comparison::MaskedEqual => {
            let mask = Some((big, small));
            equal(condition, mask, halves(condition.value_two))
        }
        Comparison::NotEqual => {
            let (low, high) = loads(condition);
            let [differs, same] = [(big, 0, 2), (small, FAIL, 0)]
                .map(|(part, jt, jf)| branch(EQUAL, part, jt, jf));
            vec![high, differs, low, same]
        }
        // If the high halves differ they decide alone.
        Comparison::Greater | Comparison::GreaterOrEqual => {
            let or_equal = condition.op == Comparison::GreaterOrEqual;
            let op = if or_equal { AT_LEAST } else { GREATER };
            let (low, high) = loads(condition);
            let above = branch(GREATER, big, 3, 0);
            let same = branch(EQUAL, big, 0, FAIL);
            vec![high, above, same, low, branch(op, small, 0, FAIL)]
        }
        Comparison::Less | Comparison::LessOrEqual => {
            let or_equal = condition.op == Comparison::LessOrEqual;
            let op = if or_equal { GREATER } else { AT_LEAST };
            let (low, high) = loads(condition);
            let above = branch(GREATER, big, FAIL, 0);
            let same = branch(EQUAL, big, 0, 2);
            vec![high, above, same, low, branch(op, small, FAIL, 0)]
        }
    }
}

/// Both halves equal, after the bits outside of `mask` are cleared.
fn equal(
    condition: &Condition,
    mask: Option<(u32, u32)>,
    (big, small): (u32, u32),
) -> Vec<Instruction> {
    let (low, high) = loads(condition);
    let and =
        |part: fn((u32, u32)) -> u32| mask.map(|mask| step(AND, part(mask)));
    let mut code = vec![high];
    code.extend(and(|(big, _)| big));
    code.extend([branch(EQUAL, big, 0, FAIL), low]);
    code.extend(and(|(_, small)| small));
    code.push(branch(EQUAL, small, 0, FAIL));
    code
}

/// The instructions that load the low and the high half of the argument.
fn loads(condition: &Condition) -> (Instruction, Instruction) {
    let at = ARGS + 8 * u32::from(condition.index);
    let (first, second) = (step(LOAD, at), step(LOAD, at + 4));
    if cfg!(target_endian = "little") {
        (first, second)
    } else {
        (second, first)
    }
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

fn step(code: u32, k: u32) -> Instruction {
    branch(code, k, 0, 0)
}

/// Jumps over `jt` instructions if true, over `jf` if not.
fn branch(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel does with a program.
    fn run(
        code: &[Instruction],
        arch: u32,
        number: u32,
        args: [u64; 6],
    ) -> u32 {
        let (mut at, mut register) = (0, 0_u32);
        loop {
            let it = &code[at];
            at += 1;
            match u32::from(it.code) {
                RETURN => return it.k,
                GO_TO => at += it.k as usize,
                AND => register &= it.k,
                LOAD if it.k == NUMBER => register = number,
                LOAD if it.k == ARCH => register = arch,
                LOAD => {
                    let argument = args[(it.k - ARGS) as usize / 8];
                    let high = (it.k - ARGS) % 8 == 4;
                    register = (argument >> if high { 32 } else { 0 }) as u32;
                }
                code => {
                    let holds = match code {
                        EQUAL => register == it.k,
                        GREATER => register > it.k,
                        _ => register >= it.k,
                    };
                    at += usize::from(if holds { it.jt } else { it.jf });
                }
            }
        }
    }

    fn holds(it: &Condition, args: [u64; 6]) -> bool {
        let argument = args[usize::from(it.index)];
        match it.op {
            Comparison::NotEqual => argument != it.value,
            Comparison::Less => argument < it.value,
            Comparison::LessOrEqual => argument <= it.value,
            Comparison::Equal => argument == it.value,
            Comparison::GreaterOrEqual => argument >= it.value,
            Comparison::Greater => argument > it.value,
            Comparison::MaskedEqual => argument & it.value == it.value_two,
        }
    }

    /// Numbers that collide often, in both halves.
    fn number() -> impl Strategy<Value = u64> {
        let half = prop_oneof![0_u64..3, Just(0xffff_ffff)];
        (half.clone(), half).prop_map(|(high, low)| high << 32 | low)
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let op = prop_oneof![
            Just(Comparison::NotEqual),
            Just(Comparison::Less),
            Just(Comparison::LessOrEqual),
            Just(Comparison::Equal),
            Just(Comparison::GreaterOrEqual),
            Just(Comparison::Greater),
            Just(Comparison::MaskedEqual),
        ];
        (0_u8..6, number(), number(), op).prop_map(
            |(index, value, value_two, op)| Condition {
                index,
                value,
                value_two,
                op,
            },
        )
    }

    const HIGH: u32 = 0x4000_0000;

    /// Two islands of numbers, as x86-64 has them.
    fn number_of_call() -> impl Strategy<Value = u32> {
        prop_oneof![0_u32..500, HIGH - 1..HIGH + 500]
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        let conditions = proptest::collection::vec(condition(), 1..4);
        let cases = proptest::collection::vec((conditions, 1_u32..9), 0..3);
        (cases, 10_u32..14)
            .prop_map(|(cases, otherwise)| Verdict { cases, otherwise })
    }

    proptest! {
        #[test]
        fn the_program_decides_as_the_rules_say(
            tables in proptest::collection::vec(
                proptest::collection::btree_map(
                    number_of_call(), verdict(), 0..200,
                ),
                1..3,
            ),
            arch in 0_usize..3,
            shut in any::<bool>(),
            asked in prop_oneof![number_of_call(), Just(SKIP)],
            args in proptest::array::uniform6(number()),
        ) {
            let others = Others { unknown: 99, foreign: 77 };
            let shut_from = shut.then_some(HIGH);
            let out = shut && (HIGH..SKIP).contains(&asked);
            let rules = tables.get(arch).filter(|_| !out);
            let expected = rules.map_or(others.foreign, |rules| {
                let known = rules.get(&asked);
                let Some(verdict) = known else { return others.unknown };
                let case = verdict.cases.iter().find(|(conditions, _)| {
                    conditions.iter().all(|it| holds(it, args))
                });
                case.map_or(verdict.otherwise, |(_, value)| *value)
            });
            let tables: Vec<_> = tables
                .iter()
                .zip(0..)
                .map(|(calls, arch)| {
                    Table { arch, calls: calls.clone(), shut_from }
                })
                .collect();
            let code = program(&tables, others);
            let arch = u32::try_from(arch).unwrap();
            prop_assert_eq!(run(&code, arch, asked, args), expected);
        }
    }
}
