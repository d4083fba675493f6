"""Generated from `proto/*.proto` by `make proto`; do not edit. Explained in docs/reference/grpc.md."""
