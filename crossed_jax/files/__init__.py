"""Whole or nothing: how files and directories are written, marked, locked and checked."""
