"""The whole first lesson: an agent learns to balance a pole, in about a second."""

from lepton import Agent, Environment, Trainer

env = Environment()
agent = Agent(action_space=env.action_space, reward_threshold=100)
trainer = Trainer(env, agent, max_episodes=1000, save_model=True)
trainer.train()
trainer.evaluate()
agent.save_model("agent_model.pth")
