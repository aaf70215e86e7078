"""From molecules and a level of theory to a potential: sample, label, choose, adapt, prove."""

from idle_md.campaign.plan import measured
from idle_md.campaign.run import Campaign
from idle_md.campaign.settings import CampaignSettings, check_free, open_campaign

__all__ = ["Campaign", "CampaignSettings", "check_free", "measured", "open_campaign"]
