"""What a GPU needs: draws by counter, operations in one kernel, steps that ask the host nothing."""
