"""Where records are kept besides the journal: one file per database, each a reader of the journal with a cursor."""
