//! Innermost loops in machine code.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// One round of a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HotLoop {
    /// INT8 multiply-adds.
    pub vpdpbusd: u64,
    /// INT16 multiply-adds; LLVM may take either instruction for the other.
    pub vpdpwssd_vpmaddwd: u64,
    /// All instructions.
    pub instructions: u64,
    /// Fused multiply-adds of floats.
    pub fma: u64,
    /// Calls of functions.
    pub calls: u64,
    /// Vectors read from or written to the stack.
    pub stack: u64,
}

/// The innermost loops of a function that use vector registers, in the order of their ends.
pub fn hot_loops(code: &[u8], address: u64) -> Vec<HotLoop> {
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let instructions: Vec<Instruction> = decoder.into_iter().collect();
    let index_of = |target: u64| {
        instructions
            .binary_search_by_key(&target, Instruction::ip)
            .ok()
    };
    // A jump back closes a loop; the ones that start later and end earlier lie inside.
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (end, instruction) in instructions.iter().enumerate() {
        let jumps = matches!(
            instruction.flow_control(),
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
        );
        let start =
            index_of(instruction.near_branch_target()).filter(|&start| jumps && start <= end);
        if let Some(start) = start {
            spans.push((start, end));
        }
    }
    let innermost = spans.iter().filter(|&&(start, end)| {
        !spans
            .iter()
            .any(|&inner| inner != (start, end) && start <= inner.0 && inner.1 <= end)
    });
    innermost
        .map(|&(start, end)| &instructions[start..=end])
        .filter(|body| body.iter().any(uses_vector))
        .map(HotLoop::of)
        .collect()
}

impl HotLoop {
    fn of(body: &[Instruction]) -> Self {
        let count = |is: &dyn Fn(&Instruction) -> bool| {
            body.iter().filter(|instruction| is(instruction)).count() as u64
        };
        HotLoop {
            instructions: body.len() as u64,
            vpdpbusd: count(&|i| i.mnemonic() == Mnemonic::Vpdpbusd),
            vpdpwssd_vpmaddwd: count(&|i| {
                matches!(i.mnemonic(), Mnemonic::Vpdpwssd | Mnemonic::Vpmaddwd)
            }),
            fma: count(&|i| {
                matches!(
                    i.mnemonic(),
                    Mnemonic::Vfmadd132ps | Mnemonic::Vfmadd213ps | Mnemonic::Vfmadd231ps
                )
            }),
            calls: count(&|i| {
                matches!(
                    i.flow_control(),
                    FlowControl::Call | FlowControl::IndirectCall
                )
            }),
            stack: count(&|i| {
                uses_vector(i)
                    // Vectors lie on a stack that was aligned for them, which is addressed by RSP alone; RBP is a
                    // register as any other.
                    && i.memory_base() == Register::RSP
                    && (0..i.op_count()).any(|operand| i.op_kind(operand) == OpKind::Memory)
            }),
        }
    }
}

fn uses_vector(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| {
        instruction.op_kind(operand) == OpKind::Register
            && instruction.op_register(operand).is_vector_register()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_counted_from_its_start_to_the_jump_back() {
        // xor eax, eax; L: inc eax; vpdpbusd zmm0, zmm1, zmm2; vmovaps [rsp], zmm0; cmp eax, 9; jne
        // L; ret
        let code = [
            0x31, 0xc0, 0xff, 0xc0, 0x62, 0xf2, 0x75, 0x48, 0x50, 0xc2, 0x62, 0xf1, 0x7c, 0x48,
            0x29, 0x04, 0x24, 0x83, 0xf8, 0x09, 0x75, 0xec, 0xc3,
        ];
        let expected = HotLoop {
            instructions: 5,
            vpdpbusd: 1,
            stack: 1,
            ..HotLoop::default()
        };
        assert_eq!(hot_loops(&code, 0x1000), [expected]);
    }

    #[test]
    fn loops_without_vectors_and_code_without_loops_are_not_hot() {
        // L: inc eax; cmp eax, 9; jne L; ret
        assert!(hot_loops(&[0xff, 0xc0, 0x83, 0xf8, 0x09, 0x75, 0xf9, 0xc3], 0).is_empty());
        assert!(hot_loops(&[0xc3], 0).is_empty());
        assert!(hot_loops(&[], 0).is_empty());
    }
}
