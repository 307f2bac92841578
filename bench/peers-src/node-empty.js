// What an empty fork runs.
