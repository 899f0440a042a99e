"""What is measured while Chorus runs, and under which names."""
