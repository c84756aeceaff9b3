"""Addresses of signing in and of one's own account. The names are those that django-allauth looks for."""

from allauth.account import views as account
from allauth.socialaccount import views as socialaccount
from django.urls import include, path

from memoryhub.console.views.account import PasswordChangeView, SignInsView, nowhere
from memoryhub.console.views.entrance import SignInView, SignOutView

urlpatterns = [
    path("sign-in/", SignInView.as_view(), name="account_login"),
    path("sign-in/", SignInView.as_view(), name="sign-in"),
    path("sign-out/", SignOutView.as_view(), name="account_logout"),
    path("sign-out/", SignOutView.as_view(), name="sign-out"),
    path("account/inactive/", account.account_inactive, name="account_inactive"),
    path("account/confirm/", account.reauthenticate, name="account_reauthenticate"),
    path("account/password/", PasswordChangeView.as_view(), name="account_change_password"),
    path("account/password/first/", account.password_set, name="account_set_password"),
    path("account/sign-ins/", SignInsView.as_view(), name="usersessions_list"),
    path("account/second-factor/", include("allauth.mfa.urls")),
    path("account/sso/", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("account/sso/cancelled/", socialaccount.login_cancelled, name="socialaccount_login_cancelled"),
    path("account/sso/failed/", socialaccount.login_error, name="socialaccount_login_error"),
    path("account/none/sign-up/", nowhere, name="account_signup"),
    path("account/none/email/", nowhere, name="account_email"),
    path("account/none/reset/", nowhere, name="account_reset_password"),
    path("account/none/sso-sign-up/", nowhere, name="socialaccount_signup"),
    path("account/none/connections/", nowhere, name="socialaccount_connections"),
]
