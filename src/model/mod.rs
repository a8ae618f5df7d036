//! EmbeddingGemma: its hyperparameters, its weights as views, its forward pass.
