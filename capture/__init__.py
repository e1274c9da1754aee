"""The run on disk: its writer, its reader, its indexes and their verification."""
