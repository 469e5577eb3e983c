"""The only room that runs weights in service: embedder, micro-batcher, live models."""
