"""Vitreous and its peers on the same vision transformers: graphs, files, worker processes, timings."""
