UPDATE gateway SET checkpoint_seq = 0;
