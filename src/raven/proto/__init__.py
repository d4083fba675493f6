"""Generated from `proto/*.proto` by `make proto`; do not edit. The wire contract is explained in docs/reference/grpc.md."""
