"""Benchmarks of rendered services, raw drivers, and the idioms of tutorials."""
