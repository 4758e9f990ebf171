"""The API `training.lepton.ai/v1alpha1`: models of LeptonTrainingJob, and the CRD made of them."""
