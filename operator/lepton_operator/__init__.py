"""The operator of LeptonTrainingJob: api <- reconcile <- engine, progress <- app."""
